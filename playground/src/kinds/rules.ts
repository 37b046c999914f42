/** What a kind adds to the common way of writing objects. */
import type { FieldErrors } from "../api/errors.ts";
import type { Obj } from "../api/objects.ts";

export interface KindRules {
  /** Fills in fields that were left out; on every write. */
  defaults?(object: Obj): void;
  /** Before the first write: allocate, admit. May throw ApiError. */
  admit?(object: Obj): void;
  /** On updates: carry over what only the server sets. */
  carry?(object: Obj, old: Obj): void;
  validate?(object: Obj, old: Obj | undefined, errors: FieldErrors): void;
  /** After the object was stored, or removed. */
  stored?(object: Obj): void;
  removed?(object: Obj): void;
}
