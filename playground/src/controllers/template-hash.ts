import { createHash } from "node:crypto";
import { isRecord } from "../api/objects.ts";

const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** A short name of a pod template: equal templates, whatever the order of their fields, have equal names. */
export function templateHash(template: unknown): string {
  const digest = createHash("sha256")
    .update(JSON.stringify(canonical(template)))
    .digest();
  return Array.from(digest.subarray(0, 10), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, canonical(value[key])]),
  );
}
