/** `weft authz explain`: which policy decides, and why. */
import type { Checkpoint, PolicyOpinion } from "../../explain/checkpoint.ts";
import { livePictures } from "../../explain/live.ts";
import { findDestination, findSource } from "../../explain/parties.ts";
import type { MeshPicture } from "../../explain/picture.ts";
import { PATHS, trace, type Way } from "../../explain/trace.ts";
import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { EXIT, UsageError } from "../../frame/errors.ts";

/** So that scripts can ask. */
const EXIT_DENIED = 4;

interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
}

export const explainCommand = command({
  name: "explain",
  summary: "say which policy decides on a connection or request, and why",
  description:
    "The very policies that agents and waypoints get are evaluated, each at the place where it is in force. With METHOD and PATH a request is asked about, without them the connection alone. With -f the answer is given twice: as it is, and as it would be with those objects; nothing is applied.",
  args: [
    { name: "SRC", about: "who connects: a pod, a workload's name, or an address" },
    { name: "DST", about: "to whom: a Service or pod, with :PORT where there are several" },
    { name: "METHOD", optional: true, about: "of an HTTP request" },
    { name: "PATH", optional: true, about: "of the request, with its query" },
  ],
  flags: {
    file: { type: "string", short: "f", multiple: true, value: "FILE", about: "manifests that are not applied yet" },
    header: { type: "string", short: "H", multiple: true, value: "NAME:VALUE", about: "a header of the request" },
  },
  cluster: true,
  output: ["table", "json", "yaml"],
  exitCodes: [[EXIT_DENIED, "authz explain: it is denied (with -f: it would be)"]],
  examples: [
    ["weft authz explain web db:5432 -n shop", "May web connect to db?"],
    ["weft authz explain web reviews:9080 GET /reviews/1 -n bookinfo", "May it send this request?"],
    ["weft authz explain web db:5432 -f new-policy.yaml", "What would a policy change?"],
  ],
  run: async (context, { args, flags }) => {
    const [from = "", to = "", method, path] = args;
    const request = requestOf(method, path, flags.header);
    const { now, later } = await livePictures(context, flags.file);
    const namespace = context.namespace() ?? "default";
    const ask = (picture: MeshPicture): Way[] => {
      const source = findSource(picture, from, namespace);
      const destination = findDestination(picture, to, namespace, source);
      const authority = destination.service?.hostname ?? destination.ip;
      return trace({ picture, source, destination, request: request && { ...request, authority } });
    };
    const before = ask(now);
    const after = later === undefined ? undefined : ask(later);
    if (context.print.isData) context.print.data(after === undefined ? before : { before, after });
    else print(context, before, after);
    return (after ?? before).some(({ outcome }) => outcome === "denied") ? EXIT_DENIED : EXIT.done;
  },
});

function requestOf(
  method: string | undefined,
  path: string | undefined,
  headers: readonly string[],
): Request | undefined {
  if (method === undefined) {
    if (headers.length > 0) throw new UsageError("--header is about a request: give METHOD and PATH");
    return undefined;
  }
  if (path?.startsWith("/") !== true)
    throw new UsageError(`a request needs a path that begins with /, not "${path ?? ""}"`);
  return { method, path, headers: headers.map(headerOf) };
}

function headerOf(text: string): readonly [string, string] {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new UsageError(`--header ${text}: NAME:VALUE is expected`);
  return [name.toLowerCase(), value];
}

function print(context: Context, before: readonly Way[], after: readonly Way[] | undefined): void {
  if (after === undefined) {
    context.out(before.map((way) => wayText(way, context)).join("\n"));
    return;
  }
  const { strong } = context.paint;
  const same = JSON.stringify(before.map(decisionsOf)) === JSON.stringify(after.map(decisionsOf));
  context.out(`${strong("Now")}\n${before.map((way) => wayText(way, context)).join("\n")}\n`);
  context.out(`${strong("With the files")}\n${after.map((way) => wayText(way, context)).join("\n")}\n`);
  context.out(
    same ? "The files would change no decision on this.\n" : `${strong("They differ")}: ${changeText(before, after)}\n`,
  );
}

function decisionsOf({ to, path, outcome, checkpoints }: Way) {
  return { to, path, outcome, decided: checkpoints.map(({ at, allowed, policy }) => [at, allowed, policy]) };
}

function changeText(before: readonly Way[], after: readonly Way[]): string {
  const was = new Map(before.map((way) => [way.to, way]));
  const changes = after.map((way) => {
    const old = was.get(way.to);
    const outcome =
      old?.outcome === way.outcome ? `still ${way.outcome}` : `${old?.outcome ?? "not there"} → ${way.outcome}`;
    const path = old === undefined || old.path === way.path ? "" : `, ${old.path} → ${way.path}`;
    const decider = way.checkpoints.findLast(({ policy }) => policy !== undefined)?.policy;
    return `${way.to}: ${outcome}${path}${decider === undefined ? "" : ` (by ${decider})`}`;
  });
  return changes.join("; ");
}

const PAINTS = { reached: "good", denied: "bad", refused: "warn" } as const;

function wayText(way: Way, { paint }: Context): string {
  const { path, to, outcome, checkpoints, hops } = way;
  const lines = [`${path} (${PATHS[path]}) to ${to}: ${paint[PAINTS[outcome]](outcome)}`];
  if (checkpoints.length === 0) lines.push(`  nobody asks a policy: ${hops.at(-1)?.why ?? ""}`);
  for (const checkpoint of checkpoints) lines.push(...checkpointLines(checkpoint));
  return `${lines.join("\n")}\n`;
}

function checkpointLines({ at, peer, allowed, why, policies, dryRun }: Checkpoint): string[] {
  return [
    `  ${at}: ${allowed ? "allowed" : "denied"}, because ${why}`,
    `    asked about ${peer === "" ? "a peer without an identity" : peer}`,
    ...policies.map((policy) => `    ${opinionText(policy)}`),
    ...dryRun.map((name) => `    dry run: ${name} would have denied it`),
  ];
}

function opinionText({ layer, action, name, scope, rule, rules, remark, dryRun }: PolicyOpinion): string {
  const verdict = rule === undefined ? "does not match" : `matches by rule #${rule}`;
  const asks = rules.length === 0 ? "no rules: matches nothing" : rules.map((text, i) => `#${i}: ${text}`).join("; ");
  const notes = [...(dryRun ? ["dry run"] : []), ...(remark === "" ? [] : [remark])];
  return `${layer} ${action} ${name} (${[scope, ...notes].join("; ")}) ${verdict} [${asks}]`;
}
