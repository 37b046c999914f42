import { describe, expect, it } from "vitest";
import type { Container, Pod } from "../kinds/types.ts";
import { containerEnvironment, expand, fieldValue, type PodFacts } from "./environment.ts";

const facts: PodFacts = {
  pod: { metadata: { name: "p", namespace: "ns", labels: { a: "b" } }, spec: { nodeName: "n1" } } as unknown as Pod,
  podIps: ["10.0.0.1", "fd00::1"],
  hostIps: ["10.1.0.1"],
};
const references = {
  configMap: (name: string) => (name === "settings" ? { colour: "blue" } : undefined),
  secret: () => undefined,
};

describe("a container's environment", () => {
  const of = (container: Partial<Container>) =>
    containerEnvironment({ name: "c", image: "i", ...container }, facts, references, { BASE: "1" });

  it("puts literals, fields, maps and earlier variables together", () => {
    const env = of({
      envFrom: [{ prefix: "P_", configMapRef: { name: "settings" } }],
      env: [
        { name: "IPS", valueFrom: { fieldRef: { fieldPath: "status.podIPs" } } },
        { name: "COLOUR", valueFrom: { configMapKeyRef: { name: "settings", key: "colour" } } },
        { name: "ALL", value: "$(BASE)-$(COLOUR)-$(NONE)-$$(COLOUR)" },
      ],
    });
    expect(env).toEqual({
      BASE: "1",
      P_colour: "blue",
      IPS: "10.0.0.1,fd00::1",
      COLOUR: "blue",
      ALL: "1-blue-$(NONE)-$(COLOUR)",
    });
  });

  it("names what is missing, unless that is allowed", () => {
    const ref = { name: "gone", key: "x" };
    expect(() => of({ env: [{ name: "A", valueFrom: { secretKeyRef: ref } }] })).toThrow('secret "gone/x" not found');
    expect(of({ env: [{ name: "A", valueFrom: { secretKeyRef: { ...ref, optional: true } } }] })).toEqual({
      BASE: "1",
    });
  });

  it("knows the downward API and says what it does not know", () => {
    expect(fieldValue("metadata.labels['a']", facts)).toBe("b");
    expect(fieldValue("spec.nodeName", facts)).toBe("n1");
    expect(() => fieldValue("spec.nothing", facts)).toThrow('fieldPath "spec.nothing" is not offered');
  });

  it("expands only what it knows", () => {
    expect(expand("$(A) $(B) $$ $A", { A: "1" })).toBe("1 $(B) $ $A");
  });
});
