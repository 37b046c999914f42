/** `weft install` and `weft upgrade` */
import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { Failure, UsageError } from "../../frame/errors.ts";
import { applyPart, current, describeOutcome } from "../../install/apply.ts";
import { definitions, meshParts, type Part } from "../../install/manifests.ts";
import { waitFor } from "../../install/rollout.ts";
import { passChecks } from "./preflight.ts";

const DEFAULT_TIMEOUT_S = 300;

const FLAGS = {
  image: { type: "string", value: "IMAGE", about: "what all parts run, such as registry.example/weft:0.1.0" },
  "dry-run": { type: "boolean", about: "say what would be created and changed, and change nothing" },
  timeout: { type: "string", value: "SECONDS", about: `how long to wait for pods (default: ${DEFAULT_TIMEOUT_S})` },
} as const;

export const installCommand = command({
  name: "install",
  summary: "install Weft, or finish an installation that was interrupted",
  description:
    "The checks of weft check come first; if one fails, nothing is changed. What is there already is brought up to date, so that the command may be given again at any time. For settings of your own use the Helm chart in deploy/chart/weft.",
  cluster: true,
  flags: FLAGS,
  examples: [
    ["weft install --image registry.example/weft:0.1.0", "With the image that you have pushed"],
    ["weft install --dry-run", "Only look"],
  ],
  run: async (context, { flags }) => {
    await passChecks(context);
    return bringUpToDate(context, flags);
  },
});

export const upgradeCommand = command({
  name: "upgrade",
  summary: "bring an installation to the version of this command",
  description:
    "Agents are replaced one node after the other. Direct connections and pods without policies go on meanwhile; tunnels of a node are drained, and begin again with its next agent.",
  cluster: true,
  flags: FLAGS,
  examples: [["weft upgrade --dry-run", "What would change"]],
  run: async (context, { flags }) => {
    const daemonSet = meshParts(undefined).find(({ type }) => type.kind === "DaemonSet");
    if (daemonSet === undefined) throw new Error("deploy/manifests has no DaemonSet");
    const installed = await current(daemonSet, context.cluster().client, context.signal);
    if (installed === undefined) throw new Failure("Weft is not installed in this cluster", "use weft install");
    await passChecks(context);
    return bringUpToDate(context, flags);
  },
});

interface Wishes {
  readonly image?: string | undefined;
  readonly "dry-run"?: boolean | undefined;
  readonly timeout?: string | undefined;
}

async function bringUpToDate(context: Context, flags: Wishes): Promise<undefined> {
  const withinMs = seconds(flags.timeout) * 1000;
  const dryRun = flags["dry-run"] === true;
  const parts = meshParts(flags.image);
  await applyAll(context, definitions(), dryRun);
  if (!dryRun) await settled(context, definitions(), withinMs);
  await applyAll(context, parts, dryRun);
  if (dryRun) return undefined;
  await settled(context, parts, withinMs);
  context.out(`${context.paint.good("✔")} Weft is installed; label a namespace with istio.io/dataplane-mode=ambient\n`);
  return undefined;
}

async function applyAll(context: Context, parts: readonly Part[], dryRun: boolean): Promise<void> {
  const { client } = context.cluster();
  const { signal } = context;
  for (const part of parts) {
    const outcome = await applyPart(part, { client, signal, dryRun });
    context.out(`${describeOutcome(part, outcome)}${dryRun ? " (dry run)" : ""}\n`);
  }
}

async function settled(context: Context, parts: readonly Part[], withinMs: number): Promise<void> {
  const { client } = context.cluster();
  const left = await waitFor(parts, { client, signal: context.signal, withinMs, tell: context.progress });
  if (left.length > 0) {
    const todo = `see kubectl -n ${context.meshNamespace} get pods, then give the command again, or weft uninstall`;
    throw new Failure(left.join("; "), todo);
  }
}

function seconds(text: string | undefined): number {
  const value = text === undefined ? DEFAULT_TIMEOUT_S : Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 86_400) throw new UsageError("--timeout is a number of seconds");
  return value;
}
