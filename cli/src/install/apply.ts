/** Makes the parts of an installation so, one after the other. Again after an interruption: what is there already is left as it is. */
import { isDeepStrictEqual } from "node:util";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { KubeObject } from "#lib/kube/types.ts";
import { nameOf, type Part } from "./manifests.ts";

const FIELD_MANAGER = "weft";
const PART_OF = "app.kubernetes.io/part-of";

export type Outcome = "created" | "configured" | "unchanged" | "somebody else's";

export interface ApplyOptions {
  readonly client: KubeClient;
  readonly signal: AbortSignal;
  /** Asks the API server what would become of it, and changes nothing. */
  readonly dryRun: boolean;
}

/** Definitions that somebody else has installed stay theirs: another release of the Gateway API may be in use. */
export async function applyPart(part: Part, { client, signal, dryRun }: ApplyOptions): Promise<Outcome> {
  const before = await current(part, client, signal);
  const isTheirs = part.type.kind === "CustomResourceDefinition" && before?.metadata.labels?.[PART_OF] !== "weft";
  if (before !== undefined && isTheirs) return "somebody else's";
  try {
    const after = await client.apply(part.type, part.object, FIELD_MANAGER, { signal, dryRun });
    if (before === undefined) return "created";
    return isDeepStrictEqual(essence(before), essence(after)) ? "unchanged" : "configured";
  } catch (error) {
    // Its namespace would have been made before.
    if (dryRun && before === undefined && isNotFound(error)) return "created";
    throw error;
  }
}

/** Gone, or never there: true when there was something to delete. */
export async function deletePart(part: Part, client: KubeClient, signal: AbortSignal): Promise<boolean> {
  try {
    await client.delete(part.type, part.object.metadata, { signal });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

export async function current(part: Part, client: KubeClient, signal: AbortSignal): Promise<KubeObject | undefined> {
  try {
    return await client.get(part.type, part.object.metadata, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** An object without what the API server and controllers keep in it. */
function essence(object: KubeObject): unknown {
  const { status: _status, metadata, ...rest } = object as KubeObject & { status?: unknown };
  const { labels, annotations } = metadata;
  return { ...rest, labels, annotations };
}

export function describeOutcome(part: Part, outcome: Outcome): string {
  return `${nameOf(part)}: ${outcome}`;
}
