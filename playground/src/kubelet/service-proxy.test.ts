import { describe, expect, it } from "vitest";
import type { EndpointSlice, Service } from "../kinds/types.ts";
import { networkPlan } from "../network/plan.ts";
import { serviceRules } from "./service-proxy.ts";

const plan = networkPlan(0);

function service(spec: Partial<Service["spec"]>): Service {
  const ports = [{ name: "http", port: 80, protocol: "TCP" }];
  return {
    metadata: { namespace: "ns", name: "web" },
    spec: { clusterIPs: ["10.128.1.0"], ports, ...spec },
  } as Service;
}

function slice(endpoints: { ip: string; ready?: boolean; node?: string; ending?: boolean }[]): EndpointSlice {
  return {
    metadata: { namespace: "ns", name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: endpoints.map(({ ip, ready = true, node, ending = false }) => ({
      addresses: [ip],
      conditions: { ready, serving: ready || ending, terminating: ending },
      ...(node === undefined ? {} : { nodeName: node }),
    })),
  } as unknown as EndpointSlice;
}

describe("rules of service addresses", () => {
  it("spread over ready endpoints", () => {
    const rules = serviceRules(
      plan,
      "n1",
      [service({})],
      [slice([{ ip: "10.64.1.2" }, { ip: "10.64.2.2" }, { ip: "10.64.2.3", ready: false }])],
    );
    expect(rules).toContain("tcp . 10.128.1.0 . 80 : goto svc-0");
    expect(rules).toContain("numgen random mod 2 map { 0 : 10.64.1.2 . 8080, 1 : 10.64.2.2 . 8080 }");
    expect(rules).not.toContain("10.64.2.3");
  });

  it("fall back to endpoints that still serve while they end", () => {
    const rules = serviceRules(plan, "n1", [service({})], [slice([{ ip: "10.64.1.2", ready: false, ending: true }])]);
    expect(rules).toContain("dnat ip to 10.64.1.2:8080");
  });

  it("keep to the node's own endpoints when the service says so", () => {
    const endpoints = slice([
      { ip: "10.64.1.2", node: "n1" },
      { ip: "10.64.2.2", node: "n2" },
    ]);
    const rules = serviceRules(plan, "n2", [service({ internalTrafficPolicy: "Local" })], [endpoints]);
    expect(rules).toContain("dnat ip to 10.64.2.2:8080");
    expect(rules).not.toContain("10.64.1.2");
  });

  it("keep a client with its endpoint when asked to", () => {
    const endpoints = slice([{ ip: "10.64.1.2" }, { ip: "10.64.2.2" }]);
    expect(serviceRules(plan, "n1", [service({ sessionAffinity: "ClientIP" })], [endpoints])).toContain(
      "jhash ip saddr mod 2",
    );
  });

  it("refuse the rest of the service range", () => {
    expect(serviceRules(plan, "n1", [service({})], [])).toContain(
      "ip daddr 10.128.0.0/16 meta l4proto tcp reject with tcp reset",
    );
  });
});
