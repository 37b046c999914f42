import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManifestError, readManifests } from "./manifests.ts";

const TEXT = `# two objects
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  labels:
spec:
  hosts: [web]
  http:
  - route:
    - destination:
        host: web
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata:
    name: shop
`;

describe("objects of a file", () => {
  it("are all of its documents and what is in their lists", () => {
    expect(readManifests(TEXT, "a.yaml").map(({ object }) => object.kind)).toEqual(["VirtualService", "Namespace"]);
    expect(readManifests("", "a.yaml")).toEqual([]);
    expect(readManifests("---\n# nothing\n---\n", "a.yaml")).toEqual([]);
  });

  it("know the line of a field, or of what is nearest above it", () => {
    const [first, second] = readManifests(TEXT, "a.yaml");
    expect(first?.lineOf?.("metadata.name")).toBe(5);
    expect(first?.lineOf?.("spec.http[0].route")).toBe(10);
    expect(first?.lineOf?.("spec.http[0].route[0].destination.host")).toBe(12);
    expect(first?.lineOf?.("spec.http[7].route")).toBe(9);
    expect(first?.lineOf?.("spec.tls")).toBe(7);
    expect(second?.lineOf?.("metadata.name")).toBe(20);
  });

  it("have no labels where a key has nothing behind it", () => {
    expect(readManifests(TEXT, "a.yaml")[0]?.object.metadata).toEqual({ name: "web" });
  });

  it.each([
    ["no YAML", "a: [", /^a\.yaml:1: /],
    ["a key twice", "kind: A\nkind: B", /^a\.yaml:2: /],
    ["no object of Kubernetes", "# x\na: 1", /^a\.yaml:2: not an object of Kubernetes/],
    ["no name", "apiVersion: v1\nkind: Pod\nmetadata: {}", /metadata\.name/],
    ["labels that are no texts", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {b: 1}}", /not an object/],
  ])("are refused with the line: %s", (_, text, message) => {
    expect(() => readManifests(text, "a.yaml")).toThrow(message);
  });

  it("are bounded in what anchors may make of them", () => {
    const bomb = ["a: &a [x,x,x,x,x,x,x,x,x,x]"];
    for (let i = 1; i < 9; i++)
      bomb.push(
        `b${i}: &b${i} [${Array(10)
          .fill(`*${i === 1 ? "a" : `b${i - 1}`}`)
          .join(",")}]`,
      );
    expect(() => readManifests(bomb.join("\n"), "a.yaml")).toThrow(ManifestError);
  });

  it("are read or refused, whatever is written", () => {
    fc.assert(
      fc.property(fc.string(), fc.json(), (text, json) => {
        for (const each of [text, json]) {
          try {
            readManifests(each, "f");
          } catch (error) {
            expect(error).toBeInstanceOf(ManifestError);
          }
        }
      }),
    );
  });
});
