/** Asks many pods the same, some at a time. */
import type { Context } from "../frame/context.ts";
import { AdminPort } from "./admin-port.ts";
import { explained } from "./explain.ts";
import type { MeshPod } from "./mesh-pods.ts";

/** Each is a connection through the API server. */
const AT_ONCE = 8;

export interface Answers<T> {
  readonly answers: readonly (readonly [MeshPod, T])[];
  /** Pods that did not answer; a note about each is on stderr. */
  readonly failed: number;
}

/** Whoever does not answer is noted, and does not keep the others from being shown. Throws when nobody answers. */
export async function askAll<T>(
  context: Context,
  pods: readonly MeshPod[],
  question: (port: AdminPort, pod: MeshPod) => Promise<T>,
): Promise<Answers<T>> {
  const cluster = context.cluster();
  const answers: (readonly [MeshPod, T])[] = [];
  const failures: (readonly [MeshPod, unknown])[] = [];
  const waiting = [...pods];
  if (pods.length > AT_ONCE) context.progress(`asking ${pods.length} pods`);
  const work = async () => {
    for (let pod = waiting.shift(); pod !== undefined; pod = waiting.shift()) {
      try {
        answers.push([pod, await question(new AdminPort(cluster, pod, context.signal), pod)]);
      } catch (error) {
        if (context.signal.aborted) throw error;
        failures.push([pod, explained(error, cluster)]);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, pods.length) }, work));
  const [first] = failures;
  if (answers.length === 0 && first !== undefined) throw first[1];
  for (const [pod, error] of failures) {
    context.note(`${pod.namespace}/${pod.name} does not answer: ${error instanceof Error ? error.message : error}`);
  }
  const order = new Map(pods.map((pod, i) => [pod, i]));
  answers.sort(([a], [b]) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  return { answers, failed: failures.length };
}
