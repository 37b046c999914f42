/** Waits until what was applied runs. */
import { pause } from "#lib/backoff.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import type { KubeObject } from "#lib/kube/types.ts";
import { current } from "./apply.ts";
import { nameOf, type Part } from "./manifests.ts";

const POLL_MS = 500;

interface Workload extends KubeObject {
  readonly metadata: KubeObject["metadata"];
  readonly spec?: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberAvailable?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Undefined when a part runs as it should, else what is still to come. Parts that do not run anything are always there. */
export function unfinished(part: Part, object: KubeObject | undefined): string | undefined {
  const { metadata, spec, status } = (object ?? { metadata: {} }) as Workload;
  const name = nameOf(part);
  if (object === undefined) return `${name} is missing`;
  const isSeen = status?.observedGeneration === undefined || status.observedGeneration >= (metadata.generation ?? 0);
  switch (part.type.kind) {
    case "CustomResourceDefinition": {
      const established = status?.conditions?.some(
        ({ type, status: value }) => type === "Established" && value === "True",
      );
      return established ? undefined : `${name} is not established yet`;
    }
    case "Deployment":
      return progress(name, isSeen, spec?.replicas ?? 1, status?.updatedReplicas, status?.availableReplicas);
    case "DaemonSet":
      return progress(
        name,
        isSeen,
        status?.desiredNumberScheduled,
        status?.updatedNumberScheduled,
        status?.numberAvailable,
      );
    default:
      return undefined;
  }
}

function progress(name: string, isSeen: boolean, wanted = 0, updated = 0, available = 0): string | undefined {
  if (isSeen && updated >= wanted && available >= wanted) return undefined;
  return `${name}: ${Math.min(updated, available)} of ${wanted} pods are up to date and available`;
}

export interface WaitOptions {
  readonly client: KubeClient;
  readonly signal: AbortSignal;
  readonly withinMs: number;
  readonly tell: (text: string) => void;
}

/** What was still to come when the time was over; empty when everything runs. */
export async function waitFor(parts: readonly Part[], options: WaitOptions): Promise<readonly string[]> {
  const { client, signal, withinMs, tell } = options;
  const deadline = performance.now() + withinMs;
  for (;;) {
    const left: string[] = [];
    for (const part of parts) {
      const text = unfinished(part, await current(part, client, signal));
      if (text !== undefined) left.push(text);
    }
    if (left.length === 0 || performance.now() > deadline) return left;
    tell(left[0] ?? "");
    await pause(POLL_MS, signal);
    signal.throwIfAborted();
  }
}
