/** What is to be said of objects beside what their own reading says: by those who execute what was made of them. */
import { compareText } from "../model/meta.ts";
import type { WantedCondition } from "./status-writer.ts";

/** `kind/namespace/name`. */
export type ObjectId = `${string}/${string}/${string}`;

export interface Remark {
  readonly object: ObjectId;
  readonly condition: WantedCondition;
}

export class Remarks {
  readonly #bySource = new Map<string, readonly Remark[]>();
  readonly #byObject = new Map<ObjectId, Map<string, WantedCondition[]>>();
  readonly #onChange: (object: ObjectId) => void;

  /** `onChange`: what `of` gives for this object may be something else. */
  constructor(onChange: (object: ObjectId) => void) {
    this.#onChange = onChange;
  }

  objects(): Iterable<ObjectId> {
    return this.#byObject.keys();
  }

  /** This is all that `source` says now. */
  set(source: string, remarks: readonly Remark[]): void {
    const before = this.#bySource.get(source) ?? [];
    if (before.length === 0 && remarks.length === 0) return;
    if (remarks.length === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, remarks);
    const touched = new Map<ObjectId, string>();
    for (const { object } of [...before, ...remarks]) touched.set(object, JSON.stringify(this.of(object)));
    for (const { object } of before) {
      const sources = this.#byObject.get(object);
      sources?.delete(source);
      if (sources?.size === 0) this.#byObject.delete(object);
    }
    for (const { object, condition } of remarks) {
      const sources = this.#byObject.get(object) ?? new Map<string, WantedCondition[]>();
      this.#byObject.set(object, sources.set(source, [...(sources.get(source) ?? []), condition]));
    }
    for (const [object, was] of touched) if (JSON.stringify(this.of(object)) !== was) this.#onChange(object);
  }

  /** One condition of each type: who says the same in other words is heard, too. */
  of(object: ObjectId): readonly WantedCondition[] {
    const all = [...(this.#byObject.get(object)?.values() ?? [])].flat();
    const types = Map.groupBy(all, ({ type }) => type);
    return [...types.values()].flatMap((same) => {
      const sorted = same.sort((a, b) => compareText(a.reason, b.reason) || compareText(a.message, b.message));
      const [first] = sorted;
      const message = [...new Set(sorted.map((each) => each.message))].join("; ");
      return first === undefined ? [] : [{ ...first, message }];
    });
  }
}
