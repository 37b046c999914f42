/** A waypoint's program for people: the messages of proto/l7.proto as JSON, without private keys. */
import { type DescMessage, fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { L7_SCHEMAS } from "#lib/xds/l7-schemas.ts";
import { L7_TYPE_PREFIX } from "#lib/xds/types.ts";
import type { ProgramTables } from "../xds/program-source.ts";

const SCHEMAS: Readonly<Record<string, DescMessage>> = L7_SCHEMAS;
const SECRET_FIELDS: ReadonlySet<string> = new Set(["privateKey"]);
const REDACTED = "redacted";

/** Resources by type; each with its name in the program and the version that clients know. */
export function programJson(tables: ProgramTables): Record<string, readonly object[]> {
  const types: Record<string, readonly object[]> = {};
  for (const [typeUrl, table] of tables) {
    const type = typeUrl.slice(L7_TYPE_PREFIX.length);
    const schema = SCHEMAS[type];
    if (schema === undefined) continue;
    types[type] = [...table.values()].map(({ name, version, message }) => ({
      name,
      version,
      resource: withoutSecrets(toJson(schema, fromBinary(schema, message))),
    }));
  }
  return types;
}

function withoutSecrets(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, SECRET_FIELDS.has(key) ? REDACTED : withoutSecrets(each)]),
  );
}
