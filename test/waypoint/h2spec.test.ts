/** Every case of h2spec, in the clear and over TLS, against a waypoint that forwards to a server. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TestCa } from "../helpers/pki.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";
import { Backend } from "./backend.ts";
import { type Case, h2spec } from "./h2spec.ts";

/** What h2spec, which is about RFC 7540, wants otherwise: the section of RFC 9113 that lets us, and what it sees. */
interface Difference {
  readonly why: string;
  readonly failure: RegExp;
}

const EVERYWHERE: Readonly<Record<string, Difference>> = {
  "http2/6.9.1/3": {
    why: "5.4.1: a stream error may be taken for a connection error; nghttp2 does for windows that overflow",
    failure: /Connection closed/,
  },
};
const IN_THE_CLEAR: Readonly<Record<string, Difference>> = {
  "http2/3.5/2": {
    why: "3.4: a preface that is none shows a peer of another protocol; the port takes HTTP/1 too, whose answer is 400",
    failure: /looked like an HTTP\/1\.1 header/,
  },
};

const plain = await casesOf(false);
const secure = await casesOf(true);

describe.each([
  { way: "in the clear", cases: plain, differences: { ...EVERYWHERE, ...IN_THE_CLEAR } },
  { way: "over TLS", cases: secure, differences: EVERYWHERE },
])("h2spec $way", ({ cases, differences }) => {
  const [other, same] = [true, false].map((wanted) => cases.filter(({ id }) => id in differences === wanted));

  it.each(same ?? [])("$id: $title", ({ failure }) => expect(failure).toBeUndefined());
  it.each(other ?? [])("$id: $title: we do otherwise", ({ id, failure }) => {
    expect(failure).toMatch(differences[id]?.failure ?? "");
  });
  it("is whole", () => expect(cases).toHaveLength(146));
});

async function casesOf(tls: boolean): Promise<Case[]> {
  const folder = mkdtempSync(join(tmpdir(), "weft-h2spec-"));
  // It reads a request's body before it answers: an answer before that would end the streams that cases are about.
  const backend = await Backend.start("app", "127.0.0.1", 0);
  const program = join(folder, "program.json");
  writeFileSync(program, JSON.stringify(await programOf(backend.port, tls)));
  const waypoint = await WaypointProcess.start({ LOCAL_XDS_PATH: program });
  try {
    await waypoint.ready();
    return await h2spec(await waypoint.port("web"), tls);
  } finally {
    await waypoint.stop("SIGKILL");
    await backend.stop();
    rmSync(folder, { recursive: true });
  }
}

async function programOf(appPort: number, tls: boolean): Promise<object> {
  const routes = [{ forward: { clusters: [{ cluster: "app" }] } }];
  const chain = { protocol: "HTTP", http: { hosts: [{ domains: ["*"], routes }] } };
  const listener = { name: "web", address: "127.0.0.1", chain };
  const svid = tls ? await (await TestCa.create()).issue("spiffe://cluster.local/ns/default/sa/web") : undefined;
  const certificate = svid && { tls: { certificateChain: svid.chain, privateKey: svid.key } };
  return {
    settings: {},
    listeners: [{ ...listener, ...certificate }],
    clusters: [{ name: "app" }],
    endpoints: [{ cluster: "app", endpoints: [{ ip: "127.0.0.1", port: appPort }] }],
  };
}
