import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { ListenerSchema } from "#proto/l7_pb.ts";
import type { L7Rejection, L7Resource } from "../native.ts";
import { loadLocalProgram } from "./local-file.ts";
import { NamedHosts } from "./named-hosts.ts";
import { ProgramSync } from "./program-sync.ts";

let folder: string;
let given: L7Resource[];
let refuse: L7Rejection[];
let sync: ProgramSync;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-program-"));
  given = [];
  refuse = [];
  const log = new LogRoot({
    format: "plain",
    filter: "off",
    destination: { write: () => undefined, flushSync: () => undefined },
  }).logger("program");
  const engine = {
    apply: (updated: readonly L7Resource[]) => {
      given.push(...updated);
      return refuse;
    },
  };
  sync = new ProgramSync({ engine, hosts: new NamedHosts({ onChange: () => undefined }), log });
});
afterEach(() => rmSync(folder, { recursive: true }));

function load(text: string): Promise<void> {
  const path = join(folder, "program.yaml");
  writeFileSync(path, text);
  return loadLocalProgram(path, sync);
}

test("a file holds the messages in their JSON form", async () => {
  await load(`
settings: { clusterId: c1 }
listeners:
- name: plain
  address: 127.0.0.1
  port: 8080
  chain: { protocol: HTTP }
clusters: [{ name: c }]
endpoints: [{ cluster: c, endpoints: [{ ip: 127.0.0.1, port: 80 }] }]
`);
  expect(given.map(({ type, name }) => `${type} ${name}`)).toEqual([
    "Settings settings",
    "Cluster c",
    "Endpoints c",
    "Listener plain",
  ]);
  expect(fromBinary(ListenerSchema, given.at(-1)?.bytes ?? new Uint8Array()).port).toBe(8080);
  await sync.loaded;
});

test("what cannot be used is named", async () => {
  await expect(load("listener: []")).rejects.toThrow("listener: not one of settings, clusters");
  await expect(load("listeners: [{ name: a, prot: 1 }]")).rejects.toThrow("listeners[0]");
  await expect(load("listeners: [{ port: 1 }]")).rejects.toThrow("listeners[0]");
});

test("what the engine refuses ends the start", async () => {
  refuse = [{ type: "Cluster", name: "c", reason: "no algorithm 9" }];
  await expect(load("clusters: [{ name: c }]")).rejects.toThrow("Cluster c: no algorithm 9");
});
