import { describe, expect, it } from "vitest";
import { parseCidr, parseIp } from "#lib/address.ts";
import { MAX_NODES, MAX_PLAYGROUNDS, networkPlan } from "./plan.ts";

describe("network plan", () => {
  it("gives every playground, node and pod addresses of its own, all of them valid", () => {
    const seen = new Set<string>();
    for (let index = 0; index < MAX_PLAYGROUNDS; index++) {
      const plan = networkPlan(index);
      expect(parseCidr(plan.podRange.v4)).toBeDefined();
      expect(parseCidr(plan.podRange.v6)).toBeDefined();
      for (const pair of [
        plan.fabric,
        plan.dnsService,
        plan.service(1000),
        plan.node(1),
        plan.node(MAX_NODES),
        plan.pod(1, 2),
        plan.pod(MAX_NODES, 250),
      ]) {
        for (const ip of [pair.v4, pair.v6]) {
          expect(parseIp(ip)).toBe(ip);
          expect(seen.has(ip)).toBe(false);
          seen.add(ip);
        }
      }
    }
  });

  it("refuses a number out of range", () => {
    expect(() => networkPlan(MAX_PLAYGROUNDS)).toThrow("a playground's number is 0 to 63");
  });
});
