/** Routes of a waypoint as people read them. */
import type { HttpMatchJson, RouteJson, StringMatchJson } from "./program.ts";

const PATHS: Readonly<Record<string, (value: string) => string>> = {
  exact: (value) => value,
  prefix: (value) => `${value}*`,
  segmentPrefix: (value) => (value === "/" ? "/*" : `${value}[/*]`),
  regex: (value) => `regex ${value}`,
};

export function matchText({
  path = {},
  method,
  authority,
  headers = [],
  query = [],
  sourceNamespace,
}: HttpMatchJson = {}): string {
  const [kind, value] = Object.entries(path).find(([key]) => key in PATHS) ?? ["prefix", "/"];
  const parts = [
    method === undefined ? "" : stringText(method),
    PATHS[kind]?.(String(value)) ?? "",
    authority === undefined ? "" : `host ${stringText(authority)}`,
    ...headers.map(
      ({ name, value: match, invert }) => `${invert === true ? "not " : ""}header ${name} ${stringText(match)}`,
    ),
    ...query.map(({ name, value: match }) => `query ${name} ${stringText(match)}`),
    sourceNamespace === undefined ? "" : `from ${sourceNamespace}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** Where it leads: clusters with their shares, a redirect, an answer. */
export function targetText({ forward, redirect, direct }: RouteJson): string {
  if (redirect !== undefined) return "redirect";
  if (direct !== undefined) return `answer ${direct.status ?? 200}`;
  const clusters = forward?.clusters ?? [];
  if (clusters.length === 0) return "nowhere";
  if (clusters.length === 1) return clusters[0]?.cluster ?? "nowhere";
  return clusters.map(({ cluster = "nowhere", weight = 0 }) => `${cluster} (${weight})`).join(", ");
}

function stringText(match: StringMatchJson = {}): string {
  const [kind, value] = Object.entries(match).find(([key]) => key !== "ignoreCase") ?? ["exact", ""];
  switch (kind) {
    case "present":
      return "present";
    case "exact":
      return String(value);
    case "prefix":
      return `${value}*`;
    case "suffix":
      return `*${value}`;
    default:
      return `regex ${value}`;
  }
}
