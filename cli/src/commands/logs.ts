/** `weft logs` */
import { explained } from "../cluster/explain.ts";
import type { MeshPod } from "../cluster/mesh-pods.ts";
import { type LogWish, podLog } from "../cluster/pod-logs.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import { PARTS_ARGUMENT, podsOfPart } from "../mesh/parts.ts";

const DEFAULT_TAIL = "100";

export const logsCommand = command({
  name: "logs",
  summary: "print logs of agents, control plane and waypoints",
  description: "With several pods, each line begins with the name of its pod.",
  cluster: true,
  args: [PARTS_ARGUMENT],
  flags: {
    follow: { type: "boolean", short: "f", about: "go on until Ctrl-C" },
    tail: { type: "string", value: "LINES", about: `last lines of each pod, or "all" (default: ${DEFAULT_TAIL})` },
    since: { type: "string", value: "DURATION", about: "not older than this, such as 10m" },
    previous: { type: "boolean", short: "p", about: "of the container before its restart" },
    node: { type: "string", value: "NODE", about: "only of pods of this node" },
    grep: { type: "string", value: "TEXT", about: "only lines that contain this" },
  },
  examples: [
    ["weft logs agents --node node1 -f", "Follow one agent"],
    ["weft logs --grep access --tail all", "Every line of the access log"],
    ["weft logs waypoint -n shop", "Waypoints of a namespace"],
  ],
  run: async (context, { args, flags }) => {
    const { follow, previous } = flags;
    const wish: LogWish = { follow, previous, tail: tailLines(flags.tail), sinceSeconds: seconds(flags.since) };
    const pods = await podsOfPart(context, args[0], flags.node);
    // One after the other, so that each log stays in one piece; followed ones all at once.
    let failed = 0;
    const one = async (pod: MeshPod) => {
      if (!(await print(context, pod, wish, { isOne: pods.length === 1, grep: flags.grep }))) failed++;
    };
    if (follow) await Promise.all(pods.map(one));
    else for (const pod of pods) await one(pod);
    return failed === 0 ? EXIT.done : EXIT.failed;
  },
});

interface Shape {
  readonly isOne: boolean;
  readonly grep: string | undefined;
}

/** False when there is no log to be had; a note says why. */
async function print(context: Context, pod: MeshPod, wish: LogWish, { isOne, grep }: Shape): Promise<boolean> {
  const head = isOne ? "" : `${context.paint.faint(`[${pod.name}]`)} `;
  try {
    for await (const line of podLog(context, pod, wish)) {
      if (grep === undefined || line.includes(grep)) context.out(`${head}${line}\n`);
    }
    return true;
  } catch (error) {
    if (context.signal.aborted) return true;
    const why = explained(error, context.cluster());
    context.note(`no log of ${pod.namespace}/${pod.name}: ${why instanceof Error ? why.message : why}`);
    return false;
  }
}

function tailLines(text = DEFAULT_TAIL): string | undefined {
  if (text === "all") return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--tail ${text}: a number of lines or "all" is expected`);
  return text;
}

function seconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits, unit = ""] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`--since ${text}: a duration such as 30s, 10m or 2h is expected`);
  return Number(digits) * ({ s: 1, m: 60, h: 3600 }[unit] ?? 1);
}
