/**
 * Gives memory back after a burst. The first load of a large mesh leaves more garbage than mesh, and V8 sees no reason
 * to collect it in a process that then allocates little: the agent would keep twice what it needs for days.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collect: ((options: { type: "major"; execution: "async"; flavor: "last-resort" }) => unknown) | undefined;

/** One full collection that also returns pages to the system; some 100 ms for a heap of 100 MB. */
export function releaseMemory(): void {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc");
  }
  // In a task of its own, when the response that caused the garbage is garbage too.
  collect?.({ type: "major", execution: "async", flavor: "last-resort" });
}
