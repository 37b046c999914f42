/** Carries `weft analyze` out. */

import { analyze } from "../../../control/src/analysis/analyze.ts";
import { CODES, LEVELS, type Level } from "../../../control/src/analysis/codes.ts";
import {
  byWeight,
  formatMessage,
  isAtLeast,
  levelOf,
  type Message,
  messageRecord,
} from "../../../control/src/analysis/message.ts";
import { isSuppressed, parseSuppression, type Suppression } from "../../../control/src/analysis/suppression.ts";
import { merged, readFiles } from "../cluster/manifest-files.ts";
import { meshObjects, meshSettings } from "../cluster/mesh-objects.ts";
import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import { EXIT_FOUND } from "./exit-codes.ts";

const DEFAULT_NAMESPACE = "default";

export interface AnalyzeFlags {
  readonly file: readonly string[];
  readonly recursive: boolean;
  readonly "list-analyzers": boolean;
  readonly "use-kube": string | undefined;
  readonly suppress: readonly string[];
  readonly "failure-threshold": string | undefined;
  readonly "output-threshold": string | undefined;
}

export async function runAnalyze(context: Context, args: readonly string[], flags: AnalyzeFlags): Promise<number> {
  if (flags["list-analyzers"]) {
    for (const [code, { name, level }] of Object.entries(CODES)) context.out(`${code}  ${level.padEnd(7)}  ${name}\n`);
    return EXIT.done;
  }
  const suppressions = flags.suppress.map(suppressionOf);
  const paths = [...args, ...flags.file];
  const useKube = flags["use-kube"] === undefined ? flags.file.length === 0 : flags["use-kube"] === "true";
  if (!useKube && paths.length === 0) throw new UsageError("weft analyze without a cluster needs files: give -f FILE");
  const scope = await lookedAt(context, paths, useKube, flags.recursive);
  const shown = scope.messages
    .filter((message) => !isSuppressed(message, suppressions))
    .filter((message) => isAtLeast(levelOf(message), levelFlag(flags["output-threshold"], "Info")));
  print(context, shown, scope.what);
  const threshold = levelFlag(flags["failure-threshold"], "Error");
  if (!shown.some((message) => isAtLeast(levelOf(message), threshold))) return EXIT.done;
  context.note(`weft: found issues when analyzing ${scope.what}`);
  return EXIT_FOUND;
}

interface LookedAt {
  readonly messages: readonly Message[];
  /** For people. */
  readonly what: string;
}

async function lookedAt(
  context: Context,
  paths: readonly string[],
  useKube: boolean,
  recursive: boolean,
): Promise<LookedAt> {
  const namespace = useKube ? context.namespace() : namespaceWithoutCluster(context);
  const files = await readFiles(paths, { recursive, namespace: namespace ?? DEFAULT_NAMESPACE, stdin: context.stdin });
  const what =
    paths.length > 0 ? paths.join(", ") : namespace === undefined ? "all namespaces" : `namespace: ${namespace}`;
  if (!useKube) return { messages: analyze(files, meshSettings([], context.meshNamespace)), what };
  const { objects, forbidden } = await meshObjects(context);
  const resources = merged(objects, files);
  const messages = [
    ...analyze(resources, meshSettings(objects, context.meshNamespace)),
    ...forbidden.map((kind) => insufficient(kind)),
  ].sort(byWeight);
  return { messages: messages.filter((message) => isWanted(message, namespace, paths.length > 0)), what };
}

/** With files they alone are asked about; the cluster is what they are seen against. */
function isWanted({ origin, code }: Message, namespace: string | undefined, onlyFiles: boolean): boolean {
  if (code === "IST0141") return true;
  if (onlyFiles) return origin.file !== undefined;
  if (namespace === undefined || origin.namespace === namespace) return true;
  return origin.kind === "Namespace" && origin.name === namespace;
}

function insufficient(kind: string): Message {
  const text = `You may not list objects of kind ${kind}: what they say is not taken into account`;
  return { code: "IST0141", origin: { kind, namespace: "", name: "*" }, text };
}

/** Without a cluster, its kubeconfig need not be there. */
function namespaceWithoutCluster(context: Context): string {
  try {
    return context.namespace() ?? DEFAULT_NAMESPACE;
  } catch {
    return DEFAULT_NAMESPACE;
  }
}

function suppressionOf(text: string): Suppression {
  const suppression = parseSuppression(text);
  if (suppression !== undefined) return suppression;
  throw new UsageError(`--suppress ${text}: CODE=OBJECT is expected, as "IST0102=Namespace shop*"`);
}

function levelFlag(text: string | undefined, otherwise: Level): Level {
  return LEVELS.find((level) => level === text) ?? otherwise;
}

function print({ print: printer, out, paint }: Context, messages: readonly Message[], what: string): void {
  if (printer.isData) {
    printer.data(messages.map(messageRecord));
    return;
  }
  if (messages.length === 0) out(`${paint.good("✔")} No validation issues found when analyzing ${what}.\n`);
  const paints = { Error: paint.bad, Warning: paint.warn, Info: (text: string) => text };
  for (const message of messages) {
    const line = formatMessage(message);
    const level = levelOf(message);
    out(`${paints[level](level)}${line.slice(level.length)}\n`);
  }
}
