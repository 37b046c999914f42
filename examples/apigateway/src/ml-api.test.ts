import { createHash, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { startMlApi } from "./ml-api.ts";

async function withRole(role: string, use: (url: string) => Promise<void>): Promise<void> {
  const api = await startMlApi(role, 0);
  try {
    await use(`http://127.0.0.1:${api.port}`);
  } finally {
    await api.stop();
  }
}

test("upload says how much it got, and its hash", () =>
  withRole("upload", async (url) => {
    const body = randomBytes(3_000_000);
    const answer = await fetch(`${url}/upload`, { method: "POST", body });
    expect(await answer.json()).toEqual({
      role: "upload",
      bytes: body.length,
      sha256: createHash("sha256").update(body).digest("hex"),
    });
  }));

test("predict scores numbers and nothing else", () =>
  withRole("predict", async (url) => {
    const ask = (body: string) => fetch(`${url}/predict`, { method: "POST", body });
    expect(await (await ask('{"features":[1,2,3]}')).json()).toEqual({ role: "predict", score: 2 });
    expect((await ask('{"features":["a"]}')).status).toBe(422);
    expect((await ask("nonsense")).status).toBe(400);
    expect((await ask(" ".repeat(70_000))).status).toBe(413);
  }));
