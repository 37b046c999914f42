/** Any history of changes ends in the same maps as a decision from scratch. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Scope } from "#proto/authorization_pb.ts";
import type { Address } from "#proto/workload_pb.ts";
import { DecisionBed } from "../../test/helpers/decision-bed.ts";
import { FakeKernel } from "../../test/helpers/fake-kernel.ts";
import { localPod } from "../../test/helpers/local-pod.ts";
import { denial, serviceAddress, uidOf, workloadAddress } from "../../test/helpers/mesh-fixtures.ts";
import type { LocalPod } from "./enroll/local-pods.ts";
import type { SocketAddress, VerdictKey } from "./native.ts";
import { compileRoute } from "./route/compile.ts";
import type { StoredPolicy } from "./state/policy-store.ts";

const HOST = "default/web.default.svc.cluster.local";
const VIP = { ip: "10.96.0.1", port: 80 };
const OUTSIDE = { ip: "192.0.2.1", port: 443 };
const TO_ONE = { ip: "10.0.0.2", port: 8080 };
const MESH = [
  serviceAddress({ name: "web", vips: [VIP.ip], ports: { 80: 8080 } }),
  ...["client", "one", "two"].map((name, index) =>
    workloadAddress({
      name,
      ips: [`10.0.0.${index + 1}`],
      services: name === "client" ? {} : { [HOST]: { 80: 8080 } },
    }),
  ),
];

let bed: DecisionBed;

const NAMES = ["client", "one", "two", "far"] as const;
const IPS = { client: "10.0.0.1", one: "10.0.0.2", two: "10.0.0.3", far: "10.0.1.1" } as const;
const local = fc.constantFrom("client" as const, "one" as const, "two" as const);
const destinations: readonly SocketAddress[] = [
  VIP,
  { ip: "10.96.0.1", port: 81 },
  TO_ONE,
  { ip: "10.0.0.3", port: 15008 },
  { ip: "10.0.1.1", port: 80 },
  OUTSIDE,
];
const waypoint = {
  destination: { case: "hostname" as const, value: { namespace: "default", hostname: "wp" } },
  hboneMtlsPort: 15008,
};
const step = fc.oneof(
  fc.record({
    do: fc.constant("workload" as const),
    name: fc.constantFrom(...NAMES),
    hbone: fc.boolean(),
    member: fc.boolean(),
    ready: fc.boolean(),
    bound: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    capacity: fc.integer({ min: 1, max: 3 }),
    policies: fc.constantFrom([], [], ["default/selected"]),
  }),
  fc.record({ do: fc.constant("unpublish" as const), name: fc.constantFrom(...NAMES) }),
  fc.record({
    do: fc.constant("service" as const),
    mode: fc.constantFrom(0, 0, 1, 2, 3),
    bound: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  }),
  fc.record({
    do: fc.constant("policy" as const),
    name: fc.constantFrom("all", "selected"),
    account: local,
    dryRun: fc.boolean(),
  }),
  fc.record({ do: fc.constant("no-policy" as const), name: fc.constantFrom("all", "selected") }),
  fc.record({ do: fc.constant("miss" as const), pod: local, destination: fc.constantFrom(...destinations) }),
  fc.record({ do: fc.constant("enroll" as const), pod: local }),
  fc.record({ do: fc.constant("leave" as const), pod: local, kept: fc.boolean() }),
  fc.record({ do: fc.constant("restart" as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function workloadOf({ name, hbone, member, ready, bound, capacity, policies }: Extract<Step, { do: "workload" }>) {
  return workloadAddress({
    name,
    ips: [IPS[name]],
    hbone,
    services: member ? { [HOST]: { 80: 8080, 81: 15001 } } : {},
    more: {
      node: name === "far" ? "node-2" : "node-1",
      status: ready ? 0 : 1,
      capacity,
      authorizationPolicies: [...policies],
      ...(bound ? { waypoint } : {}),
    },
  });
}

function serviceOf({ mode, bound }: Extract<Step, { do: "service" }>) {
  return serviceAddress({
    name: "web",
    vips: [VIP.ip],
    ports: { 80: 8080, 81: 15001 },
    more: { loadBalancing: { mode, routingPreference: [4] }, ...(bound ? { waypoint } : {}) },
  });
}

/** A node with its mesh, to which any of the steps may happen at any time. */
class History {
  readonly kernel = new FakeKernel();
  readonly enrolled = new Map<string, LocalPod>();
  readonly asked: { readonly pod: string; readonly destination: SocketAddress }[] = [];
  readonly #addresses = new Map<string, Address>();
  readonly #policies = new Map<string, StoredPolicy>();
  /** Cookies are given out anew with each namespace; these pods keep theirs, as their addresses. */
  readonly #kept = new Map<string, bigint>();
  #lastId = 0;

  constructor() {
    for (const address of MESH) this.#addresses.set(nameOf(address), address);
    bed = new DecisionBed(this.kernel).start([], MESH);
    for (const name of ["client", "one", "two"]) this.enroll(name);
  }

  take(step: Step): void {
    switch (step.do) {
      case "workload":
        this.#publish(workloadOf(step));
        break;
      case "service":
        this.#publish(serviceOf(step));
        break;
      case "unpublish":
        this.#addresses.delete(step.name);
        bed.state.removeAddress(uidOf(step.name));
        bed.state.commit();
        break;
      case "policy":
        this.#setPolicy(step);
        break;
      case "no-policy":
        this.#policies.delete(step.name);
        bed.state.removePolicy(`default/${step.name}`);
        bed.state.commit();
        break;
      case "miss":
        this.#miss(step.pod, step.destination);
        break;
      case "enroll":
        this.enroll(step.pod);
        break;
      case "leave":
        this.#leave(step.pod, step.kept);
        break;
      case "restart":
        this.#restart();
        break;
    }
  }

  #setPolicy({ name, account, dryRun }: Extract<Step, { do: "policy" }>): void {
    const policy = denial(name, account, { dryRun, scope: name === "all" ? Scope.NAMESPACE : Scope.WORKLOAD_SELECTOR });
    this.#policies.set(name, policy);
    bed.state.setPolicy(policy);
    bed.state.commit();
  }

  #miss(name: string, destination: SocketAddress): void {
    const pod = this.enrolled.get(name);
    if (pod === undefined) return;
    this.asked.push({ pod: name, destination });
    bed.miss(pod, destination);
  }

  enroll(name: string): void {
    if (this.enrolled.has(name)) return;
    const id = ++this.#lastId;
    const cookie = this.#kept.get(name) ?? BigInt(id);
    const pod = { ...localPod(id, name, [IPS[name as keyof typeof IPS]]), cookie };
    this.enrolled.set(name, pod);
    this.#kept.delete(name);
    bed.enroll(pod);
  }

  #leave(name: string, kept: boolean): void {
    const pod = this.enrolled.get(name);
    if (pod === undefined) return;
    this.enrolled.delete(name);
    if (kept) this.#kept.set(name, pod.cookie);
    this.#forgetAsked(name);
    bed.leave(pod, kept);
  }

  /** What a pod that is taken out had asked for is asked for again by whoever needs it. */
  #forgetAsked(name: string): void {
    for (let at = this.asked.length - 1; at >= 0; at--) if (this.asked[at]?.pod === name) this.asked.splice(at, 1);
  }

  #restart(): void {
    bed.close();
    bed = new DecisionBed(this.kernel);
    for (const policy of this.#policies.values()) bed.state.setPolicy(policy);
    // Routes that were only the engine's are not known any more.
    for (const { pod, destination } of this.asked.splice(0)) {
      const cookie = this.enrolled.get(pod)?.cookie ?? 0n;
      if (this.kernel.endpoints(cookie, destination) !== undefined) this.asked.push({ pod, destination });
    }
    const pods = [...this.enrolled].map(([name, pod]) => ({ ...pod, id: ++this.#lastId, name }));
    for (const pod of pods) this.enrolled.set(pod.name, pod);
    bed.start(pods, [...this.#addresses.values()]);
  }

  #publish(address: Address): void {
    this.#addresses.set(nameOf(address), address);
    bed.put(address);
  }
}

function nameOf({ type }: Address): string {
  return type.case === undefined ? "" : type.value.name;
}

/** What a compilation and an evaluation from scratch give. */
function checkKernel(history: History): void {
  const { kernel } = bed;
  const needed = new Set<string>();
  const expected = new Map<string, unknown>();
  for (const { pod: name, destination } of history.asked) {
    const pod = history.enrolled.get(name);
    const workload = pod === undefined ? undefined : bed.pods.workloadOf(pod.id);
    if (pod === undefined) continue;
    const local = { pod, pods: bed.pods };
    const fresh =
      workload === undefined ? [] : compileRoute(workload, destination, bed.state, () => undefined, local).direct;
    if (fresh.length > 0) expected.set(`${pod.cookie}|${destination.ip}|${destination.port}`, fresh);
    for (const endpoint of fresh) {
      if (endpoint.pod === undefined) continue;
      const target = bed.pods.byCookie(endpoint.pod);
      if (target === undefined) throw new Error("an endpoint that is not captured");
      const { ip, port } = endpoint.address;
      const peer = { identity: pod.identity, sourceIp: pod.addresses[0] ?? "", destinationIp: ip, port };
      const answer = bed.engine.evaluate(target.id, peer);
      const names = bed.engine.podPolicies.get(target.id) ?? [];
      const undecided = answer.dryRun.length > 0 || names.some((policy) => !bed.engine.policies.has(policy));
      const key: VerdictKey = { source: pod.cookie, destination: target.cookie, port, family: 4 };
      expect(kernel.verdict(key)).toBe(undecided ? undefined : answer.allowed);
      needed.add(`${key.source}|${key.destination}|${port}|4`);
    }
  }
  const held = new Map([...kernel.routesHeld].map(([id, { endpoints }]) => [id, endpoints]));
  expect(held).toEqual(expected);
  for (const id of kernel.verdicts.keys()) expect(needed).toContain(id);
  for (const pod of history.enrolled.values()) {
    expect(kernel.pods.get(pod.cookie)?.open).toBe(bed.engine.podPolicies.get(pod.id)?.length === 0);
  }
  expect(bed.decisions.direct.figures()).toMatchObject({ routes: expected.size, verdicts: needed.size, failures: 0 });
}

test("after any history the maps hold what a decision from scratch gives", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const history = new History();
      try {
        for (const each of steps) {
          history.take(each);
          checkKernel(history);
        }
      } finally {
        bed.close();
      }
    }),
    { numRuns: 1500 },
  );
});
