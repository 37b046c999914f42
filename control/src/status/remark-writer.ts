/** Writes remarks into the conditions of Istio's objects, and takes them away when nobody makes them any more. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { Condition, IstioObject, ResourceType } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { ObjectId, Remarks } from "./remarks.ts";

export interface RemarkWriterOptions {
  readonly client: KubeClient;
  readonly remarks: Remarks;
  readonly types: readonly ResourceType<IstioObject>[];
  /** Those that are written by remarks alone. */
  readonly conditions: ReadonlySet<string>;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

const CONCURRENCY = 4;
/** Longer messages are of no use to a reader. */
const MAX_MESSAGE = 1_000;

export class RemarkWriter {
  readonly #options: RemarkWriterOptions;
  readonly #types: ReadonlyMap<string, ResourceType<IstioObject>>;
  readonly #queue: WorkQueue;

  constructor(options: RemarkWriterOptions) {
    this.#options = options;
    this.#types = new Map(options.types.map((type) => [type.kind, type]));
    this.#queue = new WorkQueue({
      work: (object, signal) => this.#write(object as ObjectId, signal),
      concurrency: CONCURRENCY,
      // A conflict is somebody else's write in between: the next attempt reads it.
      onError: (object, error) => options.log.info({ object, err: error }, "writing a remark again"),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  check(object: ObjectId): void {
    if (this.#options.leads() && this.#types.has(kindOf(object))) this.#queue.add(object);
  }

  /** A version of an object was read: a remark may be of an older one, or a leftover. */
  seen(kind: string, { metadata, status }: IstioObject): void {
    const object: ObjectId = `${kind}/${metadata.namespace ?? ""}/${metadata.name}`;
    const wanted = this.#options.remarks.of(object).length > 0;
    if (wanted || ownOf(status?.conditions, this.#options.conditions).length > 0) this.check(object);
  }

  /** This replica leads now. */
  refresh(): void {
    for (const object of this.#options.remarks.objects()) this.check(object);
  }

  async #write(object: ObjectId, signal: AbortSignal): Promise<void> {
    const { client, remarks, conditions, leads } = this.#options;
    const [kind = "", namespace = "", name = ""] = object.split("/");
    const type = this.#types.get(kind);
    if (type === undefined || !leads()) return;
    try {
      const { metadata, status } = await client.get(type, { namespace, name }, { signal });
      const all = conditionsOf(status?.conditions);
      const before = ownOf(all, conditions);
      const wanted = remarks.of(object).map((remark): Condition => {
        const message = remark.message.slice(0, MAX_MESSAGE);
        const same = before.find((each) => each.type === remark.type && each.status === remark.status);
        return {
          ...remark,
          message,
          lastTransitionTime: same?.lastTransitionTime ?? new Date().toISOString(),
          ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }),
        };
      });
      if (textOf(wanted) === textOf(before)) return;
      const others = all.filter((each) => !before.includes(each));
      const patch = {
        metadata: { resourceVersion: metadata.resourceVersion },
        status: { conditions: [...others, ...wanted] },
      };
      await client.patch(type, { namespace, name }, "merge", patch, { signal, subresource: "status" });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

function kindOf(object: ObjectId): string {
  return object.slice(0, object.indexOf("/"));
}

/** The schema of a status is open: anybody may have written anything. */
function conditionsOf(conditions: unknown): Condition[] {
  if (!Array.isArray(conditions)) return [];
  return conditions.filter((each: unknown): each is Condition => typeof each === "object" && each !== null);
}

function ownOf(conditions: unknown, types: ReadonlySet<string>): Condition[] {
  return conditionsOf(conditions).filter(({ type }) => types.has(type));
}

function textOf(conditions: readonly Condition[]): string {
  return JSON.stringify(
    conditions.map(({ type, status, reason, message, observedGeneration }) => [
      type,
      status,
      reason,
      message,
      observedGeneration,
    ]),
  );
}
