import { createHash } from "node:crypto";

/** The same for the same event about the same object, so that repetitions count up one Event. */
export function eventName(name: string, uid: string, reason: string, message: string): string {
  const hash = createHash("sha256").update(`${uid}\0${reason}\0${message}`).digest("hex").slice(0, 16);
  return `${name}.${hash}`;
}
