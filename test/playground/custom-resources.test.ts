import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bed } from "./bed.ts";

const CRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.test.weft}
spec:
  group: test.weft
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, shortNames: [gd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    schema: &schema
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 10}
              colour: {type: string, enum: [red, blue], default: red}
              name: {type: string, pattern: '^[a-z]+$'}
              port: {x-kubernetes-int-or-string: true}
              parts: {type: array, maxItems: 2, items: {type: object, properties: {id: {type: string}}}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            properties:
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
  - {name: v1beta1, served: true, storage: false, schema: *schema}
`;

function gadget(spec: string): string {
  return `apiVersion: test.weft/v1\nkind: Gadget\nmetadata: {name: one}\nspec: ${spec}\n`;
}

describe("custom resources", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-custom", { nodes: 1 });
    await bed.apply(CRD);
    await bed.kubectl("wait", "--for=condition=Established", "crd/gadgets.test.weft", "--timeout=10s");
  });
  afterAll(() => bed?.stop());

  it("are served as soon as they are defined, with their columns, defaults and all versions", async () => {
    await bed.apply(gadget("{size: 3, port: http, free: {any: [1]}}"));
    expect(await bed.kubectl("get", "gd")).toMatch(/NAME +SIZE +READY +AGE\none +3/);
    expect(await bed.kubectl("get", "gadget", "one", "-o", "jsonpath={.spec.colour} {.spec.free.any[0]}")).toBe(
      "red 1",
    );
    const beta = await bed.kubectl("get", "gadgets.v1beta1.test.weft", "one", "-o", "yaml");
    expect(beta).toContain("apiVersion: test.weft/v1beta1");
  });

  it("are checked against their schema, field by field", async () => {
    const refused = async (spec: string) => (await bed.withInput(gadget(spec), "apply", "-f", "-")).stderr;
    expect(await refused("{size: 11}")).toContain("spec.size");
    expect(await refused("{size: wrong}")).toContain("must be of type integer");
    expect(await refused("{}")).toContain("spec.size: Required value");
    expect(await refused("{size: 1, colour: green}")).toContain("spec.colour: Unsupported value");
    expect(await refused("{size: 1, name: A1}")).toContain("spec.name");
    expect(await refused("{size: 1, parts: [{}, {}, {}]}")).toContain("spec.parts");
    expect(await refused("{size: 1, parts: [{id: 5}]}")).toContain("spec.parts[0].id");
    expect(await refused("{size: 1, sise: 2}")).toContain('unknown field "spec.sise"');
  });

  it("keep spec and status apart", async () => {
    const status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]},"spec":{"size":9}}';
    await bed.kubectl("patch", "gadget", "one", "--type=merge", "--subresource=status", "-p", status);
    expect(await bed.kubectl("get", "gadget", "one")).toMatch(/one +3 +True/);
    await bed.kubectl("patch", "gadget", "one", "--type=merge", "-p", '{"spec":{"size":4},"status":{"conditions":[]}}');
    expect(await bed.kubectl("get", "gadget", "one")).toMatch(/one +4 +True/);
    expect(await bed.kubectl("get", "gadget", "one", "-o", "jsonpath={.metadata.generation}")).toBe("2");
  });

  it("wait for their finalizers", async () => {
    await bed.kubectl("patch", "gadget", "one", "--type=merge", "-p", '{"metadata":{"finalizers":["test.weft/hold"]}}');
    await bed.kubectl("delete", "gadget", "one", "--wait=false");
    expect(await bed.kubectl("get", "gadget", "one", "-o", "jsonpath={.metadata.deletionTimestamp}")).not.toBe("");
    await bed.kubectl("patch", "gadget", "one", "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
    expect((await bed.try("get", "gadget", "one")).stderr).toContain("not found");
  });

  it("go with their definition", async () => {
    await bed.apply(gadget("{size: 3}"));
    await bed.kubectl("delete", "crd", "gadgets.test.weft");
    expect((await bed.try("get", "gadgets")).stderr).toMatch(/doesn't have a resource type|could not find the/);
  });
});
