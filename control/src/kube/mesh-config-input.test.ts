import { describe, expect, it } from "vitest";
import type { ConfigMap } from "#lib/kube/types.ts";
import type { MeshConfigFacts } from "../l7/istio/mesh-config.ts";
import { meshConfigInput } from "./mesh-config-input.ts";

describe("the mesh's configuration", () => {
  it("is the ConfigMap's, the last good one while a version is wrong, and Istio's defaults without one", () => {
    const configs: MeshConfigFacts[] = [];
    const complaints: boolean[] = [];
    const { handler, scope } = meshConfigInput("istio-system", {
      onConfig: (config) => configs.push(config),
      onProblems: (_, keptLastGood) => complaints.push(keptLastGood),
    });
    const object = (mesh: string, name = "istio"): ConfigMap => ({
      metadata: { namespace: "istio-system", name },
      data: { mesh },
    });
    const upsert = (each: ConfigMap) => handler.upsert(each);
    expect(scope).toEqual({ namespace: "istio-system", fieldSelector: "metadata.name=istio" });
    handler.replace([]);
    expect(configs.at(-1)?.trustDomainAliases).toEqual([]);
    upsert(object("trustDomainAliases: [old]"));
    upsert(object("trustDomainAliases: [old]"));
    upsert(object("trustDomainAliases: [other]", "somebody-elses"));
    expect(configs.map(({ trustDomainAliases }) => trustDomainAliases)).toEqual([[], ["old"]]);
    upsert(object("trustDomainAliases: {"));
    expect(complaints).toEqual([true]);
    expect(configs).toHaveLength(2);
    handler.remove(object(""));
    expect(configs.at(-1)?.trustDomainAliases).toEqual([]);
  });
});
