import { describe, expect, it } from "vitest";
import { ReferenceGrants, referenceGrantFacts } from "./reference-grants.ts";

const RULE = { group: "networking.istio.io", kind: "DestinationRule", namespace: "shop" };
const SECRET = { group: "", kind: "Secret", namespace: "infra", name: "key" };

function grants(...specs: readonly unknown[]): ReferenceGrants {
  const all = new ReferenceGrants(() => {});
  specs.forEach((spec, index) => {
    all.all.upsert(referenceGrantFacts({ metadata: { namespace: "infra", name: `g${index}` }, spec }));
  });
  return all;
}

describe("a ReferenceGrant", () => {
  const from = [RULE];

  it("is not needed within a namespace", () => {
    expect(grants().allows(RULE, { ...SECRET, namespace: "shop" })).toBe(true);
    expect(grants().allows(RULE, SECRET)).toBe(false);
  });

  it("grants all of a kind, or what it names", () => {
    expect(grants({ from, to: [{ group: "", kind: "Secret" }] }).allows(RULE, SECRET)).toBe(true);
    expect(grants({ from, to: [{ group: "", kind: "Secret", name: "key" }] }).allows(RULE, SECRET)).toBe(true);
    expect(grants({ from, to: [{ group: "", kind: "Secret", name: "other" }] }).allows(RULE, SECRET)).toBe(false);
    expect(grants({ from, to: [{ group: "", kind: "ConfigMap" }] }).allows(RULE, SECRET)).toBe(false);
  });

  it("is for exactly the group, kind and namespace that it names", () => {
    const to = [{ group: "", kind: "Secret" }];
    for (const wrong of [{ group: "" }, { kind: "Gateway" }, { namespace: "other" }]) {
      expect(grants({ from: [{ ...RULE, ...wrong }], to }).allows(RULE, SECRET)).toBe(false);
    }
  });

  it("adds to others, and is gone with its object", () => {
    const all = grants({ from, to: [{ group: "", kind: "ConfigMap" }] }, { from, to: [{ group: "", kind: "Secret" }] });
    expect(all.allows(RULE, SECRET)).toBe(true);
    all.all.remove("infra/g1");
    expect(all.allows(RULE, SECRET)).toBe(false);
  });

  it("grants nothing by what makes no sense", () => {
    for (const spec of [
      undefined,
      {},
      { from: "x", to: 3 },
      { from, to: [{ kind: "Secret" }] },
      { from: [{}], to: [{}] },
    ])
      expect(grants(spec).allows(RULE, SECRET)).toBe(false);
    expect(grants({ from, to: [{ group: "", kind: "Secret", name: 5 }] }).allows(RULE, SECRET)).toBe(false);
  });
});
