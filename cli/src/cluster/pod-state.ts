/** What a pod's status says. */
import type { Pod } from "#lib/kube/types.ts";

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
}
