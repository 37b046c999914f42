/** Fields that have been replaced, by kind. */
import type { KubeObject } from "#lib/kube/types.ts";
import type { Say } from "./check.ts";

interface DeprecatedField {
  readonly kinds: readonly string[];
  /** `*` stands for every element of a list. */
  readonly path: readonly string[];
  readonly instead: string;
}

const FIELDS: readonly DeprecatedField[] = [
  { kinds: ["VirtualService"], path: ["http", "*", "mirrorPercent"], instead: "mirrorPercentage" },
  { kinds: ["VirtualService"], path: ["http", "*", "mirror_percent"], instead: "mirrorPercentage" },
  { kinds: ["VirtualService"], path: ["http", "*", "corsPolicy", "allowOrigin"], instead: "allowOrigins" },
  { kinds: ["VirtualService"], path: ["http", "*", "fault", "delay", "percent"], instead: "percentage" },
  { kinds: ["RequestAuthentication"], path: ["jwtRules", "*", "jwks_uri"], instead: "jwksUri" },
  { kinds: ["AuthorizationPolicy", "RequestAuthentication", "Telemetry"], path: ["targetRef"], instead: "targetRefs" },
];

export function checkDeprecated(object: KubeObject, say: Say): void {
  const { spec } = object as { spec?: unknown };
  for (const { kinds, path, instead } of FIELDS) {
    if (!kinds.includes(object.kind ?? "")) continue;
    for (const field of present(spec, path, "spec")) say("IST0002", `Deprecated: ${field}; use ${instead}`, field);
  }
}

function present(value: unknown, path: readonly string[], at: string): string[] {
  const [head, ...rest] = path;
  if (head === undefined) return value === undefined || value === null ? [] : [at];
  if (head === "*") return Array.isArray(value) ? value.flatMap((each, i) => present(each, rest, `${at}[${i}]`)) : [];
  if (typeof value !== "object" || value === null) return [];
  return present((value as Record<string, unknown>)[head], rest, `${at}.${head}`);
}
