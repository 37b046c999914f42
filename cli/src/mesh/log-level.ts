/** Log levels of parts of the mesh: `/logging` of their admin ports. */
import { askAll } from "../cluster/ask.ts";
import type { MeshPod } from "../cluster/mesh-pods.ts";
import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import type { Flags } from "../frame/flags.ts";

export const LOG_LEVEL_FLAGS = {
  level: {
    type: "string",
    value: "LEVEL",
    about: "set it: trace, debug, info, warn, error, off; or scope=level, with commas between (agents, waypoints)",
  },
  reset: { type: "boolean", about: "set it back to what the process began with" },
} as const satisfies Flags;

interface Wish {
  readonly level: string | undefined;
  readonly reset: boolean;
}

/** Shows the levels of `pods`, after setting them where that is asked for. */
export async function logLevels(context: Context, pods: readonly MeshPod[], { level, reset }: Wish): Promise<number> {
  if (level !== undefined && reset) throw new UsageError("--level and --reset do not go together");
  const query = reset ? "?reset" : level === undefined ? "" : `?${levelQuery(level)}`;
  const method = query === "" ? "GET" : "POST";
  const { answers, failed } = await askAll(context, pods, (port) => port.text(`/logging${query}`, method));
  context.print.rows(
    answers.map(([pod, text]) => ({ namespace: pod.namespace, pod: pod.name, node: pod.node, level: text.trim() })),
    [
      { title: "NAMESPACE", of: ({ namespace }) => namespace },
      { title: "POD", of: ({ pod }) => pod },
      { title: "NODE", of: ({ node }) => node },
      { title: "LEVEL", of: (row) => row.level },
    ],
    "no pods",
  );
  return failed === 0 ? EXIT.done : EXIT.failed;
}

/** `info,access=debug` or istioctl's `access:debug`; a level alone is `level=`. */
function levelQuery(text: string): string {
  return text
    .split(",")
    .map((part) => part.trim().replace(":", "="))
    .map((part) => (part.includes("=") ? part : `level=${part}`))
    .join("&");
}
