import type { KubeObject } from "#lib/kube/types.ts";
import { ANNOTATIONS, isMeshAnnotation, SIDECAR_FAMILIES } from "../annotations.ts";
import type { Say } from "./check.ts";

export function checkAnnotations({ kind = "", metadata }: KubeObject, say: Say): void {
  for (const [name, value] of Object.entries(metadata.annotations ?? {})) {
    if (!isMeshAnnotation(name)) continue;
    const field = "metadata.annotations";
    const known = ANNOTATIONS.get(name);
    if (known === undefined) {
      if (!SIDECAR_FAMILIES.some((family) => name.startsWith(family)))
        say("IST0108", `Unknown annotation: ${name}`, field);
      continue;
    }
    if (!known.on.includes("*") && !known.on.includes(kind)) {
      say("IST0107", `Misplaced annotation: ${name} counts on ${known.on.join(", ")}`, field);
      continue;
    }
    const problem = known.problem?.(value);
    if (problem !== undefined) say("IST0125", `Annotation ${name}: ${problem}`, field);
    if (known.deprecated !== undefined)
      say("IST0135", `Annotation ${name} is deprecated; use ${known.deprecated}`, field);
  }
}
