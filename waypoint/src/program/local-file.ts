/**
 * The L7 program from a file instead of a control plane, for trying things out and for measuring. YAML or JSON with a
 * list per type (`listeners`, `destinations`, `clusters`, …; `settings` is one), in the JSON form of proto/l7.proto.
 */
import { readFile } from "node:fs/promises";
import { fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import type { ProgramSync } from "./program-sync.ts";
import { L7_TYPES, PROGRAM_TYPES, SETTINGS_NAME } from "./types.ts";

/** Throws an Error naming the file and the entry that cannot be used. */
export async function loadLocalProgram(path: string, sync: ProgramSync): Promise<void> {
  // Only needed here: a parser of YAML is a megabyte that no ordinary waypoint has to hold.
  const { parse } = await import("yaml");
  const content = (parse(await readFile(path, "utf8")) ?? {}) as Record<string, JsonValue | undefined>;
  const known = new Set(Object.values(PROGRAM_TYPES).map(({ list }) => list));
  for (const key of Object.keys(content)) {
    if (!known.has(key)) throw new Error(`${path}: ${key}: not one of ${[...known].join(", ")}`);
  }
  for (const type of L7_TYPES) {
    const { schema, list } = PROGRAM_TYPES[type];
    const value = content[list];
    const entries = value === undefined ? [] : Array.isArray(value) ? value : [value];
    for (const [index, entry] of entries.entries()) {
      try {
        const message = fromJson(schema, entry) as { readonly name?: string; readonly cluster?: string };
        const name = type === "Settings" ? SETTINGS_NAME : (message.name ?? message.cluster ?? "");
        if (name === "") throw new Error("it has no name");
        sync.put(type, name, toBinary(schema, message as never));
      } catch (cause) {
        throw new Error(`${path}: ${list}[${index}]`, { cause });
      }
    }
  }
  for (const type of L7_TYPES) sync.markSynced(type);
  const [first] = Object.entries(sync.status().refused as Record<string, string>);
  if (first !== undefined) throw new Error(`${path}: ${first[0]}: ${first[1]}`);
}
