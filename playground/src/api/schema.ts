/** Structural OpenAPI v3 schemas of custom resources: validation with field paths, pruning and defaults. */
import type { FieldErrors } from "./errors.ts";
import { clone, isRecord, type JsonRecord, sameJson } from "./objects.ts";

export interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  required?: string[];
  enum?: unknown[];
  default?: unknown;
  nullable?: boolean;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  not?: Schema;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
  "x-kubernetes-embedded-resource"?: boolean;
}

/** Removes fields the schema does not know and sets defaults, in place. Returns the paths removed. */
export function pruneAndDefault(value: unknown, schema: Schema, path: string): string[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((item, i) => pruneAndDefault(item, items, `${path}[${i}]`));
  }
  if (!isRecord(value)) return [];
  const removed: string[] = [];
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    if (value[field] === undefined && inner.default !== undefined) value[field] = clone(inner.default);
    if (value[field] === null && inner.nullable !== true) {
      delete value[field];
      if (inner.default !== undefined) value[field] = clone(inner.default);
    }
  }
  const additional = schema.additionalProperties;
  const isOpen =
    schema["x-kubernetes-preserve-unknown-fields"] === true ||
    additional === true ||
    (schema.properties === undefined && additional === undefined && schema.type !== "object");
  for (const [field, inner] of Object.entries(value)) {
    const at = joinPath(path, field);
    const known = schema.properties?.[field];
    if (known !== undefined) removed.push(...pruneAndDefault(inner, known, at));
    else if (isRecord(additional)) removed.push(...pruneAndDefault(inner, additional as Schema, at));
    else if (!isOpen && !(schema["x-kubernetes-embedded-resource"] && EMBEDDED.has(field))) {
      delete value[field];
      removed.push(at);
    }
  }
  return removed;
}

const EMBEDDED = new Set(["apiVersion", "kind", "metadata"]);

/** Adds every violation below `path` to `errors`. CEL rules (x-kubernetes-validations) are not evaluated. */
export function validateSchema(value: unknown, schema: Schema, path: string, errors: FieldErrors): void {
  if (value === null || value === undefined) {
    if (value === null && schema.nullable !== true) errors.invalid(path, value, "must not be null");
    return;
  }
  if (!hasType(value, schema)) {
    errors.invalid(path, typeName(value), `${path} in body must be of type ${expected(schema)}: "${typeName(value)}"`);
    return;
  }
  if (schema.enum !== undefined && !schema.enum.some((each) => sameJson(each, value))) {
    errors.unsupported(path, value, schema.enum);
  }
  if (typeof value === "string") validateString(value, schema, path, errors);
  else if (typeof value === "number") validateNumber(value, schema, path, errors);
  else if (Array.isArray(value)) validateArray(value, schema, path, errors);
  else if (isRecord(value)) validateObject(value, schema, path, errors);
  validateCombinations(value, schema, path, errors);
}

function expected(schema: Schema): string {
  return schema["x-kubernetes-int-or-string"] ? "integer or string" : (schema.type ?? "any");
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return value === null ? "null" : typeof value;
}

function hasType(value: unknown, schema: Schema): boolean {
  const type = typeName(value);
  if (schema["x-kubernetes-int-or-string"]) return type === "integer" || type === "string";
  if (schema.type === undefined || schema.type === type) return true;
  return schema.type === "number" && type === "integer";
}

function validateString(value: string, schema: Schema, path: string, errors: FieldErrors): void {
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.invalid(path, value, `should be at least ${schema.minLength} chars long`);
  }
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    errors.invalid(path, value, `should be at most ${schema.maxLength} chars long`);
  }
  if (schema.pattern !== undefined && !compiled(schema.pattern).test(value)) {
    errors.invalid(path, value, `should match '${schema.pattern}'`);
  }
  if (schema.format === "date-time" && Number.isNaN(Date.parse(value))) {
    errors.invalid(path, value, "must be of type date-time");
  }
}

const patterns = new Map<string, RegExp>();

function compiled(pattern: string): RegExp {
  let found = patterns.get(pattern);
  if (found === undefined) {
    found = new RegExp(pattern);
    patterns.set(pattern, found);
  }
  return found;
}

function validateNumber(value: number, schema: Schema, path: string, errors: FieldErrors): void {
  const { minimum, maximum } = schema;
  if (minimum !== undefined && (schema.exclusiveMinimum ? value <= minimum : value < minimum)) {
    errors.invalid(path, value, `should be greater than${schema.exclusiveMinimum ? "" : " or equal to"} ${minimum}`);
  }
  if (maximum !== undefined && (schema.exclusiveMaximum ? value >= maximum : value > maximum)) {
    errors.invalid(path, value, `should be less than${schema.exclusiveMaximum ? "" : " or equal to"} ${maximum}`);
  }
  if (schema.multipleOf !== undefined && value % schema.multipleOf !== 0) {
    errors.invalid(path, value, `should be a multiple of ${schema.multipleOf}`);
  }
}

function validateArray(value: readonly unknown[], schema: Schema, path: string, errors: FieldErrors): void {
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.invalid(path, value.length, `should have at least ${schema.minItems} items`);
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    errors.invalid(path, value.length, `must have at most ${schema.maxItems} items`);
  }
  const { items } = schema;
  if (items !== undefined) value.forEach((item, i) => void validateSchema(item, items, `${path}[${i}]`, errors));
}

function validateObject(value: JsonRecord, schema: Schema, path: string, errors: FieldErrors): void {
  for (const field of schema.required ?? []) {
    if (value[field] === undefined) errors.required(joinPath(path, field));
  }
  const count = Object.keys(value).length;
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    errors.invalid(path, count, `should have at least ${schema.minProperties} properties`);
  }
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    errors.invalid(path, count, `must have at most ${schema.maxProperties} properties`);
  }
  for (const [field, inner] of Object.entries(value)) {
    const known = schema.properties?.[field];
    if (known !== undefined) validateSchema(inner, known, joinPath(path, field), errors);
    else if (isRecord(schema.additionalProperties)) {
      validateSchema(inner, schema.additionalProperties as Schema, joinPath(path, field), errors);
    }
  }
}

function validateCombinations(value: unknown, schema: Schema, path: string, errors: FieldErrors): void {
  for (const each of schema.allOf ?? []) validateSchema(value, each, path, errors);
  if (schema.oneOf !== undefined) {
    const matching = schema.oneOf.filter((each) => satisfies(value, each)).length;
    if (matching !== 1) errors.invalid(path, "", `must validate one and only one schema (oneOf), found ${matching}`);
  }
  if (schema.anyOf !== undefined && !schema.anyOf.some((each) => satisfies(value, each))) {
    errors.invalid(path, "", "must validate at least one schema (anyOf)");
  }
  if (schema.not !== undefined && satisfies(value, schema.not)) {
    errors.invalid(path, "", "must not validate the schema (not)");
  }
}

function satisfies(value: unknown, schema: Schema): boolean {
  let isValid = true;
  const fail = () => {
    isValid = false;
  };
  const probe = { causes: [], required: fail, invalid: fail, duplicate: fail, unsupported: fail, throwIfAny() {} };
  validateSchema(value, schema, "", probe);
  return isValid;
}

function joinPath(path: string, field: string): string {
  if (!/^[A-Za-z_][\w-]*$/.test(field)) return `${path}[${field}]`;
  return path === "" ? field : `${path}.${field}`;
}
