import { expect, it } from "vitest";
import { LoadGate } from "./load-gate.ts";

it("lets in as many as there are places, in order, and the next when one leaves or gives up", () => {
  const gate = new LoadGate(2, 60_000);
  const entered: string[] = [];
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => gate.request(() => entered.push(name)));
  expect(entered).toEqual(["a", "b"]);
  c?.();
  a?.();
  a?.();
  expect(entered).toEqual(["a", "b", "d"]);
  b?.();
  d?.();
});

it("does not wait for ever for a client that does not read", async () => {
  const gate = new LoadGate(1, 5);
  const entered: string[] = [];
  gate.request(() => entered.push("a"));
  const leave = gate.request(() => entered.push("b"));
  await expect.poll(() => entered).toEqual(["a", "b"]);
  leave();
});
