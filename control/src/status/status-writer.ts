/** Tells the owner of an Istio object, in its status, what became of it. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import type { Condition, IstioObject, ResourceType } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import { keyOf, metaOf } from "../model/meta.ts";

/** A condition as it should be; the times are added when it is written. */
export type WantedCondition = Pick<Condition, "type" | "status"> & {
  readonly reason: string;
  readonly message: string;
};

/** Absent: an object without problems needs no condition, but an earlier one of ours is brought up to date. */
export interface Finding {
  readonly object: IstioObject;
  readonly condition: WantedCondition;
  /** Written even when nothing is wrong. */
  readonly always: boolean;
}

const CONCURRENCY = 4;
/** Longer messages are of no use to a reader. */
const MAX_MESSAGE = 1_000;

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly type: ResourceType<IstioObject>;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #findings = new Map<string, Finding>();
  readonly #queue: WorkQueue;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#write(key, signal),
      concurrency: CONCURRENCY,
      onError: (object, error) =>
        options.log.warn({ kind: options.type.kind, object, err: error }, "cannot write a status"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  /** Replaces what was found before of the same object. */
  found(finding: Finding): void {
    const key = keyOf(metaOf(finding.object));
    if (!isDue(finding)) {
      this.#findings.delete(key);
      return;
    }
    this.#findings.set(key, finding);
    if (this.#options.leads()) this.#queue.add(key);
  }

  /** This replica leads now: what was found before is due. */
  refresh(): void {
    for (const key of this.#findings.keys()) this.#queue.add(key);
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const finding = this.#findings.get(key);
    if (finding === undefined || !this.#options.leads()) return;
    const { client, type } = this.#options;
    const { metadata } = finding.object;
    const patch = {
      // Somebody else's newer version comes to us again by itself.
      metadata: { resourceVersion: metadata.resourceVersion },
      status: { conditions: withCondition(finding) },
    };
    try {
      await client.patch(type, metadata, "merge", patch, { signal, subresource: "status" });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
    if (this.#findings.get(key) === finding) this.#findings.delete(key);
  }
}

/** False when the object says so already, or there is nothing to say. */
function isDue({ object, condition, always }: Finding): boolean {
  const present = conditionsOf(object).find(({ type }) => type === condition.type);
  if (present === undefined) return always || condition.status !== "True";
  return (
    present.status !== condition.status ||
    present.reason !== condition.reason ||
    present.message !== condition.message.slice(0, MAX_MESSAGE)
  );
}

/** The schema of a status is open: anybody may have written anything. */
function conditionsOf(object: IstioObject): Condition[] {
  const conditions: unknown = object.status?.conditions;
  if (!Array.isArray(conditions)) return [];
  return conditions.filter((each: unknown): each is Condition => typeof each === "object" && each !== null);
}

/** The conditions of others stay. */
function withCondition({ object, condition }: Finding): Condition[] {
  const others = conditionsOf(object).filter(({ type }) => type !== condition.type);
  const { generation } = object.metadata;
  return [
    ...others,
    {
      ...condition,
      message: condition.message.slice(0, MAX_MESSAGE),
      lastTransitionTime: new Date().toISOString(),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    },
  ];
}
