import { describe, expect, it } from "vitest";
import { controlConfig } from "./config.ts";

describe("controlConfig", () => {
  it("has istiod's defaults", () => {
    expect(controlConfig({})).toMatchObject({
      mesh: {
        clusterId: "Kubernetes",
        trustDomain: "cluster.local",
        rootNamespace: "istio-system",
        dryRunPolicies: false,
      },
      grpc: { host: "", port: 15_012 },
      ready: { port: 8080 },
      metrics: { port: 15_014 },
      tokenAudiences: ["istio-ca"],
      trustedNodeAccounts: ["istio-system/ztunnel", "istio-system/weft-agent"],
      defaultCertTtlMs: 86_400_000,
    });
    expect(controlConfig({}).servingNames).toContain("istiod.istio-system.svc");
  });

  it("follows its namespace", () => {
    const config = controlConfig({ POD_NAMESPACE: "mesh" });
    expect(config.trustedNodeAccounts).toEqual(["mesh/ztunnel", "mesh/weft-agent"]);
    expect(config.servingNames).toContain("istiod.mesh.svc");
  });

  it.each([
    ["SECURE_GRPC_ADDR", "15012"],
    ["SECURE_GRPC_ADDR", ":99999"],
    ["CA_TRUSTED_NODE_ACCOUNTS", "ztunnel"],
    ["DEFAULT_WORKLOAD_CERT_TTL", "a day"],
    ["DEFAULT_WORKLOAD_CERT_TTL", "9000h"],
    ["TRUST_DOMAIN", "Upper/case"],
    ["LOG_LEVEL", "loud"],
    ["AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY", "yes"],
  ])("names %s in its error", (variable, value) => {
    expect(() => controlConfig({ [variable]: value })).toThrow(variable);
  });

  it("listens where it is told", () => {
    expect(controlConfig({ HTTP_ADDR: "[::1]:0" }).ready).toEqual({ host: "::1", port: 0 });
    expect(controlConfig({ HTTP_ADDR: "127.0.0.1:81" }).ready).toEqual({ host: "127.0.0.1", port: 81 });
  });
});
