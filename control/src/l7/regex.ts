/**
 * Regular expressions of users are RE2's, as the engine runs them. They are tried here first: a program with one that does
 * not compile is refused by waypoints as a whole, and its author would never hear of it.
 */
import { RE2JS } from "re2js";

/** Longer ones are generated or hostile: each costs the engine memory for as long as it is in force. */
const MAX_LENGTH = 4_096;

/** Why the engine would not take `pattern`; undefined when it does. */
export function regexProblem(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    return `is no regular expression of RE2: ${error instanceof Error ? error.message : error}`;
  }
}

/** A pattern that matches `text` and nothing else. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
