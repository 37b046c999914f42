/** Configuration of one of Envoy's filters, as it is or wrapped in a TypedStruct. */
import type { Fields } from "../../model/fields.ts";

const PREFIX = "type.googleapis.com/";
const STRUCTS = [`${PREFIX}udpa.type.v1.TypedStruct`, `${PREFIX}xds.type.v3.TypedStruct`];

/** The fields of the message `type`; undefined when it is another, which is noted. */
export function typedConfig(fields: Fields, type: string): Fields | undefined {
  const outer = fields.string("@type") ?? "";
  const wrapped = STRUCTS.includes(outer);
  const inner = wrapped ? (fields.string("type_url") ?? "") : outer;
  if (inner !== `${PREFIX}${type}`) {
    fields.problem(wrapped ? "type_url" : "@type", `"${inner}" is not ${PREFIX}${type}`);
    return undefined;
  }
  const value = wrapped ? fields.object("value") : fields;
  if (wrapped) fields.refuseUnknown();
  return value;
}

const DENOMINATORS = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 } as const;
const MILLION = 1_000_000;

/** A runtime fraction in parts per million; there is no runtime here, so its default counts. */
export function readShare(fields: Fields, name: string): number {
  const fraction = fields.object(name);
  fraction?.string("runtime_key");
  const value = fraction?.object("default_value");
  fraction?.refuseUnknown();
  if (value === undefined) {
    fields.problem(name, "must have a default_value: without one nothing is limited");
    return 0;
  }
  const numerator = value.integer("numerator", 0, 0xffff_ffff) ?? 0;
  const denominator = value.oneOf("denominator", Object.keys(DENOMINATORS) as (keyof typeof DENOMINATORS)[]);
  value.refuseUnknown();
  return Math.min(MILLION, Math.round((numerator / DENOMINATORS[denominator ?? "HUNDRED"]) * MILLION));
}
