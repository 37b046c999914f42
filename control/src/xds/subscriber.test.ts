import { create, fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from "#proto/discovery_pb.ts";
import { bytesOf } from "../../../test/helpers/outgoing-message.ts";
import { ResourceTable } from "../model/resource-table.ts";
import { AddressIndex } from "./address-index.ts";
import { LoadGate } from "./load-gate.ts";
import { Subscriber } from "./subscriber.ts";
import { sharedBodies } from "./subscription.ts";
import { WholeTable } from "./whole-table.ts";

/** A server side with one client that reads when told to. */
class Bench {
  readonly addresses = new ResourceTable(ADDRESS_TYPE, { versioned: true });
  readonly authorizations = new ResourceTable(AUTHORIZATION_TYPE, { versioned: false });
  /** What the client has: type, then name to content. */
  readonly client = new Map([
    [ADDRESS_TYPE as string, new Map<string, string>()],
    [AUTHORIZATION_TYPE as string, new Map<string, string>()],
  ]);
  readonly log: string[] = [];
  readonly sizes: number[] = [];
  readonly nonces = new Set<string>();
  roomFor = Number.POSITIVE_INFINITY;
  readonly whole = new WholeTable(this.addresses);
  readonly subscriber: Subscriber;

  constructor(maxChangeBytes?: number, gate = new LoadGate(1, 1000), takesDeflate = false) {
    this.subscriber = new Subscriber({
      addresses: this.addresses,
      wholeAddresses: this.whole,
      authorizations: this.authorizations,
      index: () => new AddressIndex(this.addresses),
      outlet: {
        takesDeflate,
        write: (message) => this.#read(bytesOf(message)),
        whenEmpty: (callback) => callback(),
      },
      gate,
      events: { sent: () => {}, nacked: () => {} },
      streamId: "s",
      node: "",
      version: () => "1",
      ...(maxChangeBytes === undefined ? {} : { maxChangeBytes }),
    });
  }

  subscribe(): void {
    for (const typeUrl of [ADDRESS_TYPE, AUTHORIZATION_TYPE]) {
      this.subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl }));
    }
  }

  push(): void {
    const addresses = this.addresses.takeChange();
    this.whole.note(addresses);
    this.subscriber.push({
      version: "1",
      addresses: sharedBodies(this.addresses, addresses, 1000),
      authorizations: sharedBodies(this.authorizations, this.authorizations.takeChange(), 1000),
    });
  }

  table(type: string): ResourceTable {
    return type === ADDRESS_TYPE ? this.addresses : this.authorizations;
  }

  contents(type: string): Map<string, string> {
    return new Map([...this.table(type).values()].map(({ name, message }) => [name, Buffer.from(message).toString()]));
  }

  #read(message: Buffer): boolean {
    const response = fromBinary(DeltaDiscoveryResponseSchema, message);
    expect(this.nonces.has(response.nonce)).toBe(false);
    this.nonces.add(response.nonce);
    this.sizes.push(message.length);
    const kind = response.typeUrl === ADDRESS_TYPE ? "address" : "policy";
    const known = this.client.get(response.typeUrl);
    for (const { name, resource } of response.resources) {
      this.log.push(`${kind} +${name}`);
      known?.set(name, Buffer.from(resource?.value ?? []).toString());
    }
    for (const name of response.removedResources) {
      this.log.push(`${kind} -${name}`);
      known?.delete(name);
    }
    return --this.roomFor > 0;
  }
}

describe("Subscriber", () => {
  it("ends with what the server has, whatever the order of changes, pushes and the client's reading", () => {
    const change = fc.record({
      op: fc.constantFrom("set", "delete"),
      type: fc.constantFrom(ADDRESS_TYPE, AUTHORIZATION_TYPE),
      name: fc.constantFrom("a", "b", "c", "d"),
      value: fc.integer({ min: 0, max: 3 }),
    });
    const step = fc.oneof(
      { weight: 5, arbitrary: change },
      fc.constant({ op: "push" as const }),
      fc.record({ op: fc.constant("room" as const), messages: fc.integer({ min: 1, max: 3 }) }),
      fc.constant({ op: "subscribe" as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), fc.boolean(), (steps, deflate) => {
        const bench = new Bench(60, undefined, deflate);
        bench.roomFor = 1;
        let subscribed = false;
        for (const each of steps) {
          switch (each.op) {
            case "set":
              bench.table(each.type).set(each.name, Buffer.from(`${each.name}${each.value}`));
              break;
            case "delete":
              bench.table(each.type).delete(each.name);
              break;
            case "push":
              bench.push();
              break;
            case "room":
              bench.roomFor = each.messages;
              bench.subscriber.drained();
              break;
            case "subscribe":
              if (!subscribed) bench.subscribe();
              subscribed = true;
              break;
          }
        }
        if (!subscribed) bench.subscribe();
        bench.push();
        bench.roomFor = Number.POSITIVE_INFINITY;
        bench.subscriber.drained();
        for (const type of [ADDRESS_TYPE, AUTHORIZATION_TYPE]) {
          expect(bench.client.get(type)).toEqual(bench.contents(type));
        }
        bench.subscriber.close();
      }),
      { numRuns: 1000 },
    );
  });

  it("holds back while the client does not read, and then sends each resource once, as it is by then", () => {
    const bench = new Bench();
    bench.addresses.set("a", Buffer.from("1"));
    bench.push();
    bench.roomFor = 2;
    bench.subscribe();
    expect(bench.subscriber.blocked).toBe(true);
    for (let i = 2; i < 100; i++) {
      bench.addresses.set("a", Buffer.from(String(i)));
      bench.push();
    }
    expect(bench.log).toEqual(["address +a"]);
    bench.roomFor = Number.POSITIVE_INFINITY;
    bench.subscriber.drained();
    expect(bench.log).toEqual(["address +a", "address +a"]);
    expect(bench.client.get(ADDRESS_TYPE)?.get("a")).toBe("99");
  });

  it("waits for its turn to load everything, and gets it though policies are sent meanwhile", () => {
    const gate = new LoadGate(1, 60_000);
    const leave = gate.request(() => {});
    const bench = new Bench(undefined, gate);
    bench.addresses.set("w", Buffer.from("0"));
    bench.authorizations.set("p", Buffer.from("0"));
    bench.push();
    // Policies that were asked for first leave workloads waiting at the gate when the next ones are sent.
    bench.subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: AUTHORIZATION_TYPE }));
    bench.subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE }));
    bench.authorizations.set("q", Buffer.from("0"));
    bench.push();
    expect(bench.log).toEqual(["policy +p", "policy +q"]);
    leave();
    expect(bench.log).toEqual(["policy +p", "policy +q", "address +w"]);
    bench.subscriber.close();
  });

  it("gives its place among those who load to the next one when it has everything", () => {
    const gate = new LoadGate(1, 60_000);
    const benches = [new Bench(50, gate), new Bench(50, gate)];
    for (const bench of benches) {
      for (const name of ["a", "b", "c"]) bench.addresses.set(name, Buffer.alloc(20));
      bench.push();
      bench.subscribe();
    }
    expect(benches.map(({ client }) => client.get(ADDRESS_TYPE)?.size)).toEqual([3, 3]);
    for (const bench of benches) bench.subscriber.close();
  });

  it.each([false, true])(
    "answers first with everything in one response, however large (deflated: %s)",
    async (deflate) => {
      const bench = new Bench(1000, undefined, deflate);
      const fill = (value: number) => {
        for (let i = 0; i < 5_000; i++) bench.addresses.set(`name-${i}`, Buffer.alloc(100, value));
        bench.push();
      };
      fill(1);
      bench.subscribe();
      await expect.poll(() => bench.sizes.length).toBe(2);
      expect(bench.client.get(ADDRESS_TYPE)).toEqual(bench.contents(ADDRESS_TYPE));
      fill(2);
      expect(bench.client.get(ADDRESS_TYPE)).toEqual(bench.contents(ADDRESS_TYPE));
      // A change is no first answer.
      expect(Math.max(...bench.sizes.slice(2))).toBeLessThan(1100);
    },
  );

  it("answers a client that comes back with what it lacks, in one response, and what is gone after it", () => {
    const bench = new Bench(100);
    const versions: Record<string, string> = { gone: "1" };
    for (let i = 0; i < 100; i++) bench.addresses.set(`name-${i}`, Buffer.alloc(100, i));
    bench.push();
    for (const { name, version } of bench.addresses.values()) versions[name] = version;
    for (let i = 0; i < 20; i++) bench.addresses.set(`name-${i}`, Buffer.alloc(100, i + 100));
    bench.push();
    const request = { typeUrl: ADDRESS_TYPE, initialResourceVersions: versions };
    bench.subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: AUTHORIZATION_TYPE }));
    bench.subscriber.receive(create(DeltaDiscoveryRequestSchema, request));
    expect(bench.log).toEqual([...Array.from({ length: 20 }, (_, i) => `address +name-${i}`), "address -gone"]);
    expect(bench.sizes).toHaveLength(3);
  });

  it("sends policies before workloads and takes them away after, also from a backlog", () => {
    const bench = new Bench();
    bench.authorizations.set("old", Buffer.from("1"));
    bench.push();
    bench.subscribe();
    bench.roomFor = 1;
    bench.addresses.set("w", Buffer.from("0"));
    bench.push();
    expect(bench.subscriber.blocked).toBe(true);
    bench.log.length = 0;
    bench.authorizations.delete("old");
    bench.authorizations.set("new", Buffer.from("1"));
    bench.addresses.set("w", Buffer.from("1"));
    bench.push();
    bench.roomFor = Number.POSITIVE_INFINITY;
    bench.subscriber.drained();
    expect(bench.log).toEqual(["policy +new", "address +w", "policy -old"]);
  });

  it("gives workloads to a client that never asks for policies, after a wait", async () => {
    const bench = new Bench();
    bench.addresses.set("w", Buffer.from("0"));
    bench.push();
    bench.subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE }));
    expect(bench.log).toEqual([]);
    await expect.poll(() => bench.log).toEqual(["address +w"]);
  });
});
