/** `weft check`, and what `weft install` asks before it touches anything. */
import { hostname } from "node:os";
import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { EXIT, Failure, UsageError } from "../../frame/errors.ts";
import type { Check } from "../../install/check.ts";
import { checkCluster, checkHelm, checkRights } from "../../install/checks.ts";
import { definitions, meshParts } from "../../install/manifests.ts";
import { checkFacts, nodeFacts } from "../../install/node-probe.ts";
import { probeNodes } from "../../install/probe-pods.ts";

export const checkCommand = command({
  name: "check",
  summary: "say whether a cluster can have Weft, and what its nodes' kernels lack",
  description:
    "Errors keep weft install from beginning. Warnings name what will not be there, or will be slower, on a node. Kernels are judged by their version; with --image each node is tried, by a pod that loads small programs there and is deleted again, which also shows that nodes can pull the image. Nothing else is changed.",
  cluster: true,
  output: ["table", "json", "yaml"],
  flags: {
    image: { type: "string", value: "IMAGE", about: "try each node in a pod with this image, in the namespace of -n" },
    local: { type: "boolean", about: "try the node that this runs on, as root; no cluster is asked" },
  },
  exitCodes: [[EXIT.failed, "an error was found"]],
  examples: [
    ["weft check", "Before installing"],
    ["weft check --image registry.example/weft:0.1.0", "Try what versions do not say"],
    ["sudo weft check --local", "On a node"],
  ],
  run: async (context, { flags: { image, local } }) => {
    if (local && image !== undefined)
      throw new UsageError("--local tries this node, --image all of a cluster: give one");
    const checks = local
      ? checkFacts(context.env.NODE_NAME ?? hostname(), nodeFacts())
      : await clusterChecks(context, image);
    if (context.print.isData) context.print.data(checks);
    else for (const check of checks) context.out(`${line(context, check)}\n`);
    return checks.some(({ severity }) => severity === "error") ? EXIT.failed : EXIT.done;
  },
});

async function clusterChecks(context: Context, image: string | undefined): Promise<readonly Check[]> {
  const checks = await allChecks(context);
  if (image === undefined) return checks;
  return [...checks, ...(await probeNodes(context, context.namespace() ?? "default", image))];
}

export async function allChecks(context: Context): Promise<readonly Check[]> {
  const { client } = context.cluster();
  const { signal, meshNamespace } = context;
  const types = [...definitions(), ...meshParts(undefined)].map(({ type }) => type);
  const rights = await checkRights(client, types, meshNamespace, signal);
  // Who may not even that may not look at the rest either.
  if (rights.length > 0) return rights;
  const helm = await checkHelm(client, meshNamespace, signal);
  return [...(await checkCluster(client, signal)), ...(helm === undefined ? [] : [helm])];
}

/** Warnings are noted; errors end the command before anything is changed. */
export async function passChecks(context: Context): Promise<void> {
  const checks = await allChecks(context);
  for (const check of checks) if (check.severity === "warning") context.note(line(context, check));
  const [first, ...others] = checks.filter(({ severity }) => severity === "error");
  if (first === undefined) return;
  for (const check of others) context.note(line(context, check));
  throw new Failure(first.what, first.todo);
}

function line({ paint }: Context, { severity, what, todo }: Check): string {
  const mark = { ok: paint.good("✔"), warning: paint.warn("!"), error: paint.bad("✘") }[severity];
  return `${mark} ${what}${todo === undefined ? "" : `; ${todo}`}`;
}
