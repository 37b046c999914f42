/** Carries `weft authz explain` out. */

import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import type { Checkpoint, PolicyOpinion } from "./checkpoint.ts";
import { EXIT_DENIED, EXIT_DEPENDS } from "./exit-codes.ts";
import { livePictures } from "./live.ts";
import { findDestination, findSource } from "./parties.ts";
import type { MeshPicture } from "./picture.ts";
import { PATHS, trace, type Way } from "./trace.ts";

interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
}

export async function runExplain(
  context: Context,
  args: readonly string[],
  flags: { readonly file: readonly string[]; readonly header: readonly string[] },
): Promise<number> {
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
  const outcomes = (after ?? before).map(({ outcome }) => outcome);
  if (outcomes.includes("denied")) return EXIT_DENIED;
  return outcomes.includes("depends") ? EXIT_DEPENDS : EXIT.done;
}

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
  return { to, path, outcome, decided: checkpoints.map(({ at, verdict, policy }) => [at, verdict, policy]) };
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

const PAINTS = { reached: "good", denied: "bad", refused: "warn", depends: "warn" } as const;

function wayText(way: Way, { paint }: Context): string {
  const { path, to, outcome, checkpoints, hops } = way;
  const lines = [`${path} (${PATHS[path]}) to ${to}: ${paint[PAINTS[outcome]](outcome)}`];
  if (checkpoints.length === 0) lines.push(`  nobody asks a policy: ${hops.at(-1)?.why ?? ""}`);
  for (const checkpoint of checkpoints) lines.push(...checkpointLines(checkpoint));
  return `${lines.join("\n")}\n`;
}

function checkpointLines({ at, peer, verdict, why, policies, dryRun }: Checkpoint): string[] {
  return [
    `  ${at}: ${verdict}, because ${why}`,
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
