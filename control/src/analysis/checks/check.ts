/** The form of a check of one object. */
import type { Code } from "../codes.ts";
import type { Surroundings } from "../surroundings.ts";

/** `field` is where in the object, such as `spec.http[0]`; absent: the whole of it. */
export type Say = (code: Code, text: string, field?: string) => void;

export interface Subject {
  /** `namespace/name`. */
  readonly key: string;
  /** Where what was read of the object is found. */
  readonly own: Surroundings;
  /** Everything else; the same as `own` when it is one of them. */
  readonly around: Surroundings;
}

export type Check = (subject: Subject, say: Say) => void;
