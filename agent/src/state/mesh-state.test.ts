import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { serviceAddress, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState, put } from "../../../test/helpers/mesh-state.ts";
import { convertAddress } from "./decode.ts";
import { Interner } from "./interner.ts";
import { MeshState } from "./mesh-state.ts";

describe("look-ups", () => {
  test("of several workloads with one address a pod comes first, then HBONE", () => {
    const state = meshState(
      workloadAddress({ name: "entry", ips: ["10.0.0.1"], more: { uid: "c/networking.istio.io/WorkloadEntry/a/b" } }),
      workloadAddress({ name: "plain", ips: ["10.0.0.1"], hbone: false }),
      workloadAddress({ name: "hbone", ips: ["10.0.0.1"] }),
    );
    expect(state.workloads.byAddress("/10.0.0.1")?.name).toBe("hbone");
    state.removeAddress(uidOf("hbone"));
    expect(state.workloads.byAddress("/10.0.0.1")?.name).toBe("plain");
    state.removeAddress(uidOf("plain"));
    expect(state.workloads.byAddress("/10.0.0.1")?.name).toBe("entry");
  });

  test("an endpoint that comes before its service is there when the service is", () => {
    const state = meshState(workloadAddress({ name: "a", services: { "default/s": { 80: 80 } } }));
    put(state, serviceAddress({ name: "s", hostname: "s" }));
    expect([...state.workloads.members("default/s")].map(({ name }) => name)).toEqual(["a"]);
  });

  test("a removed name is a uid first, and else a service", () => {
    const state = meshState(serviceAddress({ name: "s", hostname: "s" }));
    state.removeAddress("c/networking.istio.io/ServiceEntry/default/s");
    expect(state.services.size).toBe(1);
    state.removeAddress("default/s");
    expect(state.services.size).toBe(0);
  });

  test("a removed workload is still found by its number, for the records of its connections", () => {
    const state = meshState(workloadAddress({ name: "a" }));
    const key = state.workloads.get(uidOf("a"))?.key ?? 0;
    state.removeAddress(uidOf("a"));
    expect(state.workloads.byKey(key)?.name).toBe("a");
  });
});

describe("unusable resources name their field", () => {
  const interner = new Interner();
  test.each([
    [workloadAddress({ name: "a", more: { uid: "" } }), "uid: empty"],
    [workloadAddress({ name: "a", more: { tunnelProtocol: 2 } }), "tunnel_protocol: 2 is not supported"],
    [workloadAddress({ name: "a", more: { networkMode: 9 as 0 } }), "network_mode: unknown value 9"],
    [workloadAddress({ name: "a", more: { waypoint: {} } }), "waypoint: no destination"],
    [serviceAddress({ name: "s", more: { hostname: "" } }), "hostname: empty"],
    [serviceAddress({ name: "s", vips: ["10.0.0.1/33"] }), "addresses[0]: length 33"],
    [
      serviceAddress({ name: "s", more: { loadBalancing: { routingPreference: [0] } } }),
      "load_balancing.routing_preference: unknown scope 0",
    ],
  ])("%#", (address, message) => {
    expect(() => convertAddress(address, interner)).toThrow(message);
  });
});

test("state is synced only when both types have been told, and says so once", () => {
  const state = new MeshState({ nodeName: "n", clusterId: "c" });
  const seen: string[][] = [];
  state.onChange(({ keys }) => seen.push([...keys]));
  state.markSynced(ADDRESS_TYPE);
  state.commit();
  expect(state.synced).toBe(false);
  state.markSynced(AUTHORIZATION_TYPE);
  state.markSynced(AUTHORIZATION_TYPE);
  state.commit();
  state.commit();
  expect(state.synced).toBe(true);
  expect(seen).toEqual([["synced"]]);
});

test("after any history the indexes hold exactly what is there", () => {
  const ips = fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3"), { maxLength: 2 });
  const names = fc.constantFrom("a", "b", "c");
  const hosts = fc.uniqueArray(fc.constantFrom("s", "t"), { maxLength: 2 });
  const step = fc.oneof(
    fc.record({ op: fc.constant("set" as const), name: names, ips, hosts, host: fc.boolean() }),
    fc.record({ op: fc.constant("remove" as const), name: names }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (history) => {
      const state = meshState();
      const model = new Map<string, { ips: string[]; hosts: string[]; host: boolean }>();
      for (const change of history) {
        if (change.op === "remove") {
          model.delete(change.name);
          state.removeAddress(uidOf(change.name));
          continue;
        }
        model.set(change.name, change);
        const services = Object.fromEntries(change.hosts.map((name) => [`default/${name}`, { 80: 80 }]));
        const more = { networkMode: change.host ? 1 : 0 } as const;
        put(state, workloadAddress({ name: change.name, ips: change.ips, services, more }));
      }
      expect(state.workloads.size).toBe(model.size);
      for (const ip of ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
        const owners = [...model].filter(([, w]) => !w.host && w.ips.includes(ip)).map(([name]) => name);
        const found = state.workloads.byAddress(`/${ip}`)?.name;
        if (owners.length === 0) expect(found).toBeUndefined();
        else expect(owners).toContain(found);
      }
      for (const name of ["s", "t"]) {
        const members = [...state.workloads.members(`default/${name}`)].map((workload) => workload.name).sort();
        expect(members).toEqual(
          [...model]
            .filter(([, w]) => w.hosts.includes(name))
            .map(([own]) => own)
            .sort(),
        );
      }
      for (const [name] of model) expect(state.workloads.local("default", name)?.name).toBe(name);
    }),
  );
});
