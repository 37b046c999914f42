/** `status.parents` of a route: our entries as they should be, everybody else's as they are. */
import type { Condition, RouteParentStatus } from "#lib/kube/types.ts";
import { PROGRAM_ACCEPTED } from "../../gateway/program-accepted.ts";
import type { WantedCondition } from "../../status/status-writer.ts";
import { MESH_CONTROLLER } from "./controller.ts";
import type { ParentRef } from "./parent-ref.ts";

/** What is to be said at one parent. */
export interface ParentVerdict {
  readonly parent: Pick<ParentRef, "written">;
  readonly conditions: readonly WantedCondition[];
}

/** Longer messages are of no use to a reader; the API takes 32 KiB. */
const MAX_MESSAGE = 1_000;
/** The API takes no more entries of a route than there can be parents. */
export const MAX_PARENTS = 32;

/** Written by us, and gone when there is nothing to say. */
const PRESENT_WHILE_TRUE: ReadonlySet<string> = new Set(["PartiallyInvalid", PROGRAM_ACCEPTED]);

const PARENT_FIELDS = ["group", "kind", "namespace", "name", "sectionName", "port"];

/**
 * The list to write, or undefined when nothing is to be changed. A condition keeps its time as long as its status stays;
 * entries of ours for parents that the route no longer has are taken away.
 */
export function mergedParents(
  present: readonly RouteParentStatus[],
  verdicts: readonly ParentVerdict[],
  generation: number,
  now: string,
  most = MAX_PARENTS,
): RouteParentStatus[] | undefined {
  const ours = present.filter(isOurs);
  if (ours.some((entry) => isNewer(entry, generation))) return undefined;
  const wanted = new Map(verdicts.map((verdict) => [keyOfParentRef(verdict.parent.written), verdict]));
  const merged: RouteParentStatus[] = [];
  for (const entry of present) {
    if (!isOurs(entry)) {
      merged.push(entry);
      continue;
    }
    const key = keyOfParentRef(entry.parentRef);
    const verdict = wanted.get(key);
    // What is left over, or there twice, goes.
    if (verdict !== undefined) merged.push(entryOf(verdict, entry, generation, now));
    wanted.delete(key);
  }
  for (const verdict of wanted.values()) {
    if (merged.length < most) merged.push(entryOf(verdict, undefined, generation, now));
  }
  return JSON.stringify(merged) === JSON.stringify(present) ? undefined : merged;
}

function isOurs({ controllerName }: RouteParentStatus): boolean {
  return controllerName === MESH_CONTROLLER;
}

/** Written by a replica that has seen more than we have. */
function isNewer(entry: RouteParentStatus, generation: number): boolean {
  return conditionsOf(entry).some(({ observedGeneration = 0 }) => observedGeneration > generation);
}

/** Conditions that we do not write stay, in their place. */
function entryOf(
  { parent, conditions }: ParentVerdict,
  before: RouteParentStatus | undefined,
  observedGeneration: number,
  now: string,
): RouteParentStatus {
  const wanted = new Map(
    conditions.map((condition) => [
      condition.type,
      { ...condition, message: condition.message.slice(0, MAX_MESSAGE), observedGeneration },
    ]),
  );
  const merged: Condition[] = [];
  for (const old of conditionsOf(before)) {
    const next = wanted.get(old.type);
    wanted.delete(old.type);
    if (next === undefined) {
      if (!PRESENT_WHILE_TRUE.has(old.type)) merged.push(old);
      continue;
    }
    const since = old.status === next.status ? (old.lastTransitionTime ?? now) : now;
    const same = sameCondition(old, { ...next, lastTransitionTime: since });
    merged.push(same ? old : { ...next, lastTransitionTime: since });
  }
  for (const next of wanted.values()) merged.push({ ...next, lastTransitionTime: now });
  return { parentRef: before?.parentRef ?? parent.written, controllerName: MESH_CONTROLLER, conditions: merged };
}

function sameCondition(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration &&
    a.lastTransitionTime === b.lastTransitionTime
  );
}

/** The schema of a status is open: anybody may have written anything. */
function conditionsOf(entry: RouteParentStatus | undefined): Condition[] {
  const conditions: unknown = entry?.conditions;
  if (!Array.isArray(conditions)) return [];
  return conditions.filter((each: unknown): each is Condition => typeof each === "object" && each !== null);
}

/** The same reference is the same key, in whatever order its fields are written. */
function keyOfParentRef(parentRef: unknown): string {
  if (typeof parentRef !== "object" || parentRef === null) return "";
  const fields = parentRef as Record<string, unknown>;
  return JSON.stringify(PARENT_FIELDS.map((field) => fields[field] ?? null));
}
