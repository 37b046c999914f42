import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { LogRoot } from "#lib/log.ts";
import { EndpointsSchema } from "#proto/l7_pb.ts";
import type { L7Name, L7Rejection, L7Resource, L7Type } from "../native.ts";
import { NamedHosts } from "./named-hosts.ts";
import { ProgramSync } from "./program-sync.ts";
import { L7_TYPES, typeUrlOf } from "./types.ts";

const log = new LogRoot({
  format: "plain",
  filter: "off",
  destination: { write: () => undefined, flushSync: () => undefined },
}).logger("program");

interface Step {
  readonly updated: readonly L7Resource[];
  readonly removed: readonly L7Name[];
}

let steps: Step[];
let bad: Map<string, string>;
let answers: Map<string, string[]>;
let sync: ProgramSync;
let hosts: NamedHosts;
let clock: number;

const engine = {
  apply(updated: readonly L7Resource[], removed: readonly L7Name[]): L7Rejection[] {
    steps.push({ updated, removed });
    return updated.flatMap(({ type, name }) => {
      const reason = bad.get(name);
      return reason === undefined ? [] : [{ type, name, reason }];
    });
  },
};

beforeEach(() => {
  steps = [];
  bad = new Map();
  answers = new Map();
  clock = 0;
  hosts = new NamedHosts({
    onChange: (clusters) => sync.rehost(clusters),
    now: () => clock,
    resolve: async (name) => {
      const ips = answers.get(name);
      if (ips === undefined) throw new Error("no such host");
      return { ips: [...ips], ttlSeconds: 1 };
    },
  });
  sync = new ProgramSync({ engine, hosts, log });
});

/** A message without fields, of any type. */
const BYTES = new Uint8Array();
const names = (step: Step | undefined) => step?.updated.map(({ type, name }) => `${type} ${name}`);

function receive(type: L7Type, resources: Record<string, Uint8Array>, removed: readonly string[] = []) {
  const handler = sync.handlers().get(typeUrlOf(type));
  for (const name of removed) handler?.remove(name);
  for (const [name, bytes] of Object.entries(resources)) handler?.apply(name, bytes);
  const outcome = handler?.commit();
  sync.markSynced(type);
  return outcome;
}

function loadAll(): void {
  for (const type of L7_TYPES) void receive(type, {});
}

describe("the first program", () => {
  test("is applied in one step when every type has had its first response", async () => {
    const acknowledged = vi.fn();
    for (const type of L7_TYPES) {
      expect(steps).toHaveLength(0);
      void Promise.resolve(receive(type, { [`a ${type}`]: BYTES })).then(acknowledged);
    }
    expect(steps).toHaveLength(1);
    expect(names(steps[0])).toEqual(L7_TYPES.map((type) => `${type} a ${type}`));
    await sync.loaded;
    await eventually("acknowledgements", () => acknowledged.mock.calls.length === L7_TYPES.length);
  });

  test("tells each type what of it was refused", async () => {
    bad.set("c", "no");
    const outcomes = L7_TYPES.map((type) => receive(type, { [type === "Cluster" ? "c" : "x"]: BYTES }));
    const refused = await Promise.all(outcomes);
    expect(refused.map((list) => list?.length)).toEqual(L7_TYPES.map((type) => (type === "Cluster" ? 1 : 0)));
    expect(sync.status().refused).toEqual({ "Cluster c": "no" });
  });
});

describe("changes", () => {
  test("of one response are one step, what is refused is told and remembered until it is right", () => {
    loadAll();
    bad.set("b", "worse than before");
    expect(receive("Cluster", { a: BYTES, b: BYTES }, ["c"])).toEqual([
      { type: "Cluster", name: "b", reason: "worse than before" },
    ]);
    expect(steps).toHaveLength(1);
    expect(steps[0]?.removed).toEqual([{ type: "Cluster", name: "c" }]);
    bad.clear();
    expect(receive("Cluster", { b: BYTES })).toEqual([]);
    expect(sync.status().refused).toEqual({});
  });

  test("an engine that throws refuses everything of the step and nothing else", () => {
    loadAll();
    vi.spyOn(engine, "apply").mockImplementationOnce(() => {
      throw new Error("closed");
    });
    expect(receive("Policy", { p: BYTES })).toEqual([{ type: "Policy", name: "p", reason: "closed" }]);
    expect(receive("Policy", { p: BYTES })).toEqual([]);
  });
});

describe("endpoints with host names", () => {
  const endpoints = (...list: { ip?: string; hostname?: string; port: number }[]) =>
    toBinary(EndpointsSchema, create(EndpointsSchema, { cluster: "c", endpoints: list }));
  const given = (step: Step | undefined) =>
    step?.updated.map(({ bytes }) =>
      fromBinary(EndpointsSchema, bytes).endpoints.map(({ ip, port }) => `${ip}:${port}`),
    );

  test("have addresses when the engine sees them, and other ones when the answer is another", async () => {
    loadAll();
    answers.set("db.example", ["10.0.0.2", "10.0.0.1"]);
    receive("Endpoints", { c: endpoints({ ip: "10.1.1.1", port: 80 }, { hostname: "db.example", port: 5432 }) });
    expect(given(steps[0])).toEqual([["10.1.1.1:80"]]);
    await eventually("the answer", () => steps.length === 2);
    expect(given(steps[1])).toEqual([["10.1.1.1:80", "10.0.0.1:5432", "10.0.0.2:5432"]]);
    clock += 10_000;
    answers.set("db.example", ["10.0.0.3"]);
    hosts.refresh();
    await eventually("the change", () => steps.length === 3);
    expect(given(steps[2])).toEqual([["10.1.1.1:80", "10.0.0.3:5432"]]);
  });

  test("keep the last good answer when the name server fails", async () => {
    loadAll();
    answers.set("db.example", ["10.0.0.1"]);
    receive("Endpoints", { c: endpoints({ hostname: "db.example", port: 1 }) });
    await eventually("the answer", () => steps.length === 2);
    clock += 10_000;
    answers.clear();
    hosts.refresh();
    receive("Endpoints", { c: endpoints({ hostname: "db.example", port: 2 }) });
    expect(given(steps[2])).toEqual([["10.0.0.1:2"]]);
  });

  test("those without are passed on as they are", () => {
    loadAll();
    const bytes = endpoints({ ip: "10.0.0.1", port: 1 });
    receive("Endpoints", { c: bytes });
    expect(steps[0]?.updated[0]?.bytes).toBe(bytes);
  });
});
