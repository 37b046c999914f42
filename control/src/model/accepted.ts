/**
 * Istio objects on their way into the model: a version that has problems does not take the place of the last good one.
 * When there never was a good one, its safe reading counts.
 */
import type { ReflectorHandler } from "#lib/kube/reflector.ts";
import type { IstioObject } from "#lib/kube/types.ts";
import type { Collection } from "./collection.ts";
import type { Problem } from "./fields.ts";
import { keyOf, type Meta, metaOf } from "./meta.ts";

/** What became of one version of an object. */
export interface Verdict<F> {
  readonly object: IstioObject;
  /** Empty when all is well. */
  readonly problems: readonly Problem[];
  /** An earlier version stays in force. */
  readonly keptLastGood: boolean;
  /** The reading of this version, whether in force or not; undefined when nothing can be made of it. */
  readonly facts: F | undefined;
}

interface Good<F> {
  /** Another object of the same name starts afresh. */
  readonly uid: string | undefined;
  readonly facts: F | undefined;
}

export class Accepted<F extends Meta> implements ReflectorHandler<IstioObject> {
  readonly #read: (object: IstioObject, problems: Problem[]) => F | undefined;
  readonly #collection: Collection<F>;
  readonly #onVerdict: (verdict: Verdict<F>) => void;
  readonly #good = new Map<string, Good<F>>();

  constructor(
    collection: Collection<F>,
    read: (object: IstioObject, problems: Problem[]) => F | undefined,
    onVerdict: (verdict: Verdict<F>) => void = () => {},
  ) {
    this.#collection = collection;
    this.#read = read;
    this.#onVerdict = onVerdict;
  }

  replace(objects: readonly IstioObject[]): void {
    const keys = new Set(objects.map((object) => keyOf(metaOf(object))));
    for (const key of [...this.#good.keys()]) if (!keys.has(key)) this.#good.delete(key);
    for (const key of [...this.#collection.keys()]) if (!keys.has(key)) this.#collection.remove(key);
    for (const object of objects) this.upsert(object);
  }

  upsert(object: IstioObject): void {
    const key = keyOf(metaOf(object));
    const problems: Problem[] = [];
    const facts = this.#readSafely(object, problems);
    const good = this.#good.get(key);
    const keptLastGood = problems.length > 0 && good !== undefined && good.uid === object.metadata.uid;
    if (problems.length === 0) this.#good.set(key, { uid: object.metadata.uid, facts });
    const inForce = keptLastGood ? good.facts : facts;
    if (inForce === undefined) this.#collection.remove(key);
    else this.#collection.upsert(inForce);
    this.#onVerdict({ object, problems, keptLastGood, facts });
  }

  /** An object that nobody thought of must not stop those that come after it. */
  #readSafely(object: IstioObject, problems: Problem[]): F | undefined {
    try {
      return this.#read(object, problems);
    } catch (error) {
      problems.push({ field: "spec", reason: `cannot be read: ${error instanceof Error ? error.message : error}` });
      return undefined;
    }
  }

  remove(object: IstioObject): void {
    const key = keyOf(metaOf(object));
    this.#good.delete(key);
    this.#collection.remove(key);
  }
}
