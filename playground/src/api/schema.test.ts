import { describe, expect, it } from "vitest";
import { FieldErrors } from "./errors.ts";
import { pruneAndDefault, type Schema, validateSchema } from "./schema.ts";

function problems(value: unknown, schema: Schema): string[] {
  const errors = new FieldErrors();
  validateSchema(value, schema, "spec", errors);
  return errors.causes.map((cause) => `${cause.field}: ${cause.message}`);
}

describe("structural schemas", () => {
  it("name the field and the reason", () => {
    const schema: Schema = {
      type: "object",
      required: ["hosts"],
      properties: { hosts: { type: "array", items: { type: "string", maxLength: 3 } }, port: { type: "integer" } },
    };
    expect(problems({ port: "x" }, schema)).toEqual([
      "spec.hosts: Required value",
      expect.stringContaining("spec.port: Invalid value"),
    ]);
    expect(problems({ hosts: ["abc", "abcd"] }, schema)).toEqual([expect.stringContaining("spec.hosts[1]")]);
    expect(problems({ hosts: [] }, schema)).toEqual([]);
  });

  it("know combinations and values of two types", () => {
    const either: Schema = { oneOf: [{ required: ["a"] }, { required: ["b"] }] };
    expect(problems({ a: 1 }, either)).toEqual([]);
    expect(problems({ a: 1, b: 2 }, either)).toEqual([expect.stringContaining("one and only one")]);
    expect(problems({ a: 1 }, { not: { required: ["a"] } })).toHaveLength(1);
    const port: Schema = { "x-kubernetes-int-or-string": true };
    expect(problems(80, port)).toEqual([]);
    expect(problems("http", port)).toEqual([]);
    expect(problems(true, port)).toHaveLength(1);
  });

  it("prune unknown fields, keep open ones, and fill in defaults", () => {
    const schema: Schema = {
      type: "object",
      properties: {
        mode: { type: "string", default: "A" },
        open: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        map: { type: "object", additionalProperties: { type: "object", properties: { x: { type: "string" } } } },
      },
    };
    const value = { wrong: 1, open: { any: 1 }, map: { k: { x: "1", y: 2 } } };
    expect(pruneAndDefault(value, schema, "").sort()).toEqual(["map.k.y", "wrong"]);
    expect(value).toEqual({ mode: "A", open: { any: 1 }, map: { k: { x: "1" } } });
  });
});
