import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { serviceAddress, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState, put } from "../../../test/helpers/mesh-state.ts";
import type { Command, Route } from "../native.ts";
import { compileRoute } from "./compile.ts";
import { RouteBook } from "./route-book.ts";

const SOURCE = workloadAddress({ name: "src", ips: ["10.0.0.1"] });

function setup(maxRoutes?: number) {
  const state = meshState(SOURCE);
  const hosts = new Map<string, string[]>();
  const book = new RouteBook({
    view: state,
    workloadOf: () => state.workloads.get(uidOf("src")),
    keyOf: () => "local:default/src",
    lookUpHost: (host) => hosts.get(host),
    ...(maxRoutes === undefined ? {} : { maxRoutes }),
  });
  /** What the engine holds. */
  const held = new Map<string, Route>();
  let pushes = 0;
  const apply = (commands: readonly Command[]) => {
    for (const command of commands) {
      if (command.op === "set-route") held.set(`${command.destination.ip}:${command.destination.port}`, command.route);
      if (command.op === "remove-route") held.delete(`${command.destination.ip}:${command.destination.port}`);
      pushes++;
    }
  };
  state.onChange(({ keys }) => apply(book.change(keys)));
  return { state, hosts, book, held, apply, pushes: () => pushes };
}

test("a pod that asks for many destinations loses its own routes, not those of others", () => {
  const { book, apply, held } = setup(3);
  apply(book.miss(2, { ip: "192.0.2.99", port: 80 }));
  for (const last of [1, 2, 3, 4]) apply(book.miss(1, { ip: `192.0.2.${last}`, port: 80 }));
  expect([...held.keys()]).toEqual(["192.0.2.99:80", "192.0.2.3:80", "192.0.2.4:80"]);
  expect(book.size).toBe(3);
  book.forgetPod(1);
  expect(book.size).toBe(1);
});

describe("a change", () => {
  test("pushes only routes that rest on it, and only when they come out different", () => {
    const { state, book, held, apply, pushes } = setup();
    apply(book.miss(1, { ip: "10.0.0.2", port: 80 }));
    apply(book.miss(1, { ip: "192.0.2.1", port: 80 }));
    expect(held.get("10.0.0.2:80")).toEqual({ kind: "passthrough" });
    const before = pushes();
    put(state, workloadAddress({ name: "other", ips: ["10.0.0.3"] }));
    state.commit();
    expect(pushes()).toBe(before);
    put(state, workloadAddress({ name: "a", ips: ["10.0.0.2"] }));
    state.commit();
    expect(pushes()).toBe(before + 1);
    expect(held.get("10.0.0.2:80")).toMatchObject({ kind: "endpoints" });
    // Health is nothing to somebody who asked for this very address.
    put(state, workloadAddress({ name: "a", ips: ["10.0.0.2"], more: { status: 1 } }));
    state.commit();
    expect(pushes()).toBe(before + 1);
  });

  test("an unknown source is answered when it becomes known", () => {
    const { state, book, held, apply } = setup();
    state.removeAddress(uidOf("src"));
    state.commit();
    apply(book.miss(1, { ip: "10.0.0.2", port: 80 }));
    expect(held.size).toBe(0);
    put(state, SOURCE);
    state.commit();
    expect(held.get("10.0.0.2:80")).toEqual({ kind: "passthrough" });
  });
});

test("the number of routes is bounded, oldest first", () => {
  const { book, held, apply } = setup(10);
  for (let port = 1; port <= 25; port++) apply(book.miss(1, { ip: "192.0.2.1", port }));
  expect(book.size).toBe(10);
  expect([...held.keys()]).toEqual(Array.from({ length: 10 }, (_, i) => `192.0.2.1:${i + 16}`));
});

test("a pod's routes go with it", () => {
  const { book, apply } = setup();
  apply(book.miss(1, { ip: "192.0.2.1", port: 1 }));
  apply(book.miss(2, { ip: "192.0.2.1", port: 1 }));
  book.forgetPod(1);
  expect(book.size).toBe(1);
});

// Few names and addresses, so that they meet: shared addresses, moves, services before and after their endpoints.
const ip = fc.integer({ min: 2, max: 6 }).map((last) => `10.0.0.${last}`);
const vip = fc.constantFrom("10.96.0.1", "10.96.0.2", "10.0.0.3", "10.96.0.0/24");
const host = fc.constantFrom("s1", "s2", "wp");
const waypoint = fc.option(
  fc.constant({
    destination: { case: "hostname" as const, value: { namespace: "default", hostname: "wp" } },
    hboneMtlsPort: 15008,
  }),
  { nil: undefined },
);
const change = fc.oneof(
  fc
    .record({
      name: fc.constantFrom("a", "b", "c", "src"),
      ips: fc.uniqueArray(ip, { maxLength: 2 }),
      hbone: fc.boolean(),
      hosts: fc.uniqueArray(host, { maxLength: 2 }),
      status: fc.constantFrom(0, 1),
      waypoint,
      hostname: fc.constantFrom("", "", "ext.example"),
    })
    .map((w) => ({
      kind: "put" as const,
      address: workloadAddress({
        name: w.name,
        ips: w.name === "src" ? ["10.0.0.1", ...w.ips] : w.ips,
        hbone: w.hbone,
        services: Object.fromEntries(w.hosts.map((h) => [`default/${h}`, { 80: 8080, 15008: 15008 }])),
        more: {
          status: w.status,
          hostname: w.hostname,
          ...(w.waypoint === undefined ? {} : { waypoint: w.waypoint }),
        },
      }),
    })),
  fc
    .record({ host, vips: fc.uniqueArray(vip, { maxLength: 2 }), waypoint, mode: fc.constantFrom(0, 1, 2, 3) })
    .map((s) => ({
      kind: "put" as const,
      address: serviceAddress({
        name: s.host,
        hostname: s.host,
        vips: s.vips,
        ports: { 80: 8080, 15008: 15008 },
        more: {
          loadBalancing: { mode: s.mode, routingPreference: [4] },
          ...(s.waypoint === undefined || s.host === "wp" ? {} : { waypoint: s.waypoint }),
        },
      }),
    })),
  fc
    .constantFrom(uidOf("a"), uidOf("b"), uidOf("c"), uidOf("src"), "default/s1", "default/s2", "default/wp")
    .map((name) => ({ kind: "remove" as const, name })),
  fc.constantFrom([], ["192.0.2.1"], ["192.0.2.2"]).map((ips) => ({ kind: "resolve" as const, ips })),
  fc
    .record({
      ip: fc.oneof(
        ip,
        vip.map((text) => text.split("/")[0] ?? ""),
      ),
      port: fc.constantFrom(80, 81),
    })
    .map((destination) => ({ kind: "miss" as const, destination })),
);

test("after any history the engine holds what a compilation from scratch gives", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (history) => {
      const { state, hosts, book, held, apply } = setup();
      const asked: { ip: string; port: number }[] = [];
      for (const step of history) {
        if (step.kind === "put") put(state, step.address);
        if (step.kind === "remove") state.removeAddress(step.name);
        state.commit();
        if (step.kind === "resolve") {
          hosts.set("ext.example", [...step.ips]);
          apply(book.change(["dns:ext.example"]));
        }
        if (step.kind === "miss") {
          asked.push(step.destination);
          apply(book.miss(1, step.destination));
        }
      }
      const source = state.workloads.get(uidOf("src"));
      if (source === undefined) return;
      for (const destination of asked) {
        const fresh = compileRoute(source, destination, state, (name) => hosts.get(name)).route;
        if (fresh !== undefined) expect(held.get(`${destination.ip}:${destination.port}`)).toEqual(fresh);
      }
    }),
    { numRuns: 500 },
  );
});
