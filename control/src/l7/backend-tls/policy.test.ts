import { describe, expect, it } from "vitest";
import { serviceDefinition } from "../../model/service.ts";
import { backendTlsPlan } from "./plan.ts";
import { BackendTlsPolicies } from "./policies.ts";
import { backendTlsPolicyFacts } from "./policy.ts";

const authority = { group: "", kind: "ConfigMap", name: "ca" };
const service = (name: string, more: object = {}) => ({ group: "", kind: "Service", name, ...more });

function policy(name: string, spec: object, age = 0) {
  const creationTimestamp = new Date(1_000_000 - age).toISOString();
  return backendTlsPolicyFacts({
    metadata: { namespace: "shop", name, uid: name, generation: 1, creationTimestamp },
    spec,
  });
}

describe("a BackendTLSPolicy", () => {
  const targetRefs = [service("web")];
  const validation = { hostname: "a.example", caCertificateRefs: [authority] };

  it("asks for its host name and verifies it, or other names that it has", () => {
    expect(backendTlsPlan(policy("p", { targetRefs, validation }))).toMatchObject({
      tls: { sni: "a.example", subjectAltNames: ["a.example"] },
      authorities: [{ kind: "ConfigMap", namespace: "shop", name: "ca" }],
    });
    const subjectAltNames = [
      { type: "Hostname", hostname: "b.example" },
      { type: "URI", uri: "spiffe://td/x" },
    ];
    expect(
      backendTlsPlan(policy("p", { targetRefs, validation: { ...validation, subjectAltNames } })).tls,
    ).toMatchObject({
      sni: "a.example",
      subjectAltNames: ["b.example", "spiffe://td/x"],
    });
    const system = { hostname: "a.example", wellKnownCACertificates: "System" };
    expect(backendTlsPlan(policy("p", { targetRefs, validation: system }))).toMatchObject({ authorities: [] });
  });

  it.each([
    ["no host name", { caCertificateRefs: [authority] }],
    ["a wildcard", { ...validation, hostname: "*.example" }],
    ["an address", { ...validation, hostname: "10.0.0.1" }],
    ["neither authorities nor the system's", { hostname: "a.example" }],
    ["both", { ...validation, wellKnownCACertificates: "System" }],
    ["authorities that nobody knows", { hostname: "a.example", wellKnownCACertificates: "example.com/ours" }],
    ["authorities of another kind alone", { ...validation, caCertificateRefs: [{ ...authority, kind: "Secret" }] }],
    ["a name without a value", { ...validation, subjectAltNames: [{ type: "URI", hostname: "b" }] }],
  ])("with %s keeps its targets from being talked to in any other way", (_, wrong) => {
    expect(backendTlsPlan(policy("p", { targetRefs, validation: wrong })).problem?.message).toContain("shop/p");
  });

  it("counts for the port that it names before one for all ports, and before a younger one", () => {
    const definition = serviceDefinition(
      {
        metadata: { namespace: "shop", name: "web" },
        spec: {
          clusterIP: "10.0.0.1",
          ports: [
            { name: "a", port: 1 },
            { name: "b", port: 2 },
          ],
        },
      },
      "cluster.local",
    );
    if (definition === undefined) throw new Error("no service");
    const told: string[] = [];
    const policies = new BackendTlsPolicies((services) => told.push(...services.map(({ name }) => name)));
    policies.all.upsert(policy("all", { targetRefs, validation }, 5));
    policies.all.upsert(policy("younger", { targetRefs, validation }));
    policies.all.upsert(policy("port", { targetRefs: [service("web", { sectionName: "b" })], validation }));
    expect(told).toEqual(["web", "web", "web"]);
    expect(definition.ports.map((port) => policies.forPort(definition, port)?.name)).toEqual(["all", "port"]);
    policies.all.remove("shop/all");
    policies.all.remove("shop/port");
    expect(definition.ports.map((port) => policies.forPort(definition, port)?.name)).toEqual(["younger", "younger"]);
    expect(policies.forPort({ ...definition, source: "ServiceEntry" }, definition.ports[0] as never)).toBeUndefined();
  });
});
