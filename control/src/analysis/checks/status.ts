import type { KubeObject } from "#lib/kube/types.ts";
import { Fields } from "../../model/fields.ts";
import type { Say } from "./check.ts";

/** What controllers say is wrong with an object. */
export function checkStatus(object: KubeObject, say: Say): void {
  const status = new Fields((object as { status?: unknown }).status, "status", []);
  const parents = status.objects("parents");
  for (const condition of [...status.objects("conditions"), ...parents.flatMap((each) => each.objects("conditions"))]) {
    if (condition.string("status") !== "False" || !isAboutConfiguration(condition.string("type") ?? "")) continue;
    const reason = condition.string("reason") ?? "";
    say(
      "IST0171",
      `Condition ${condition.string("type")} is False (${reason}): ${condition.string("message") ?? ""}`,
      "status",
    );
  }
}

/** Others, such as those of a pod that is ending, say nothing of how it is configured. */
function isAboutConfiguration(type: string): boolean {
  return /(Accepted|Programmed|ResolvedRefs|WaypointBound|Reconciled)$/.test(type);
}
