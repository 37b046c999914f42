/** `weft uninstall` */
import { pause } from "#lib/backoff.ts";
import { PODS } from "#lib/kube/types.ts";
import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { Failure } from "../../frame/errors.ts";
import { deletePart } from "../../install/apply.ts";
import { checkHelm } from "../../install/checks.ts";
import { leftBehind } from "../../install/left-behind.ts";
import { definitions, meshParts, nameOf, type Part } from "../../install/manifests.ts";

const AGENTS_LEAVE_MS = 180_000;
const POLL_MS = 500;

export const uninstallCommand = command({
  name: "uninstall",
  summary: "remove Weft, also one that is half installed",
  description:
    "Agents go first and take their programs, maps and annotations along; pods go on talking, without the mesh. Definitions of resources stay, and with them your policies and routes, unless you give --definitions.",
  cluster: true,
  flags: {
    "dry-run": { type: "boolean", about: "say what would be deleted, and delete nothing" },
    agents: {
      type: "boolean",
      about: "only the agents, also those of Helm; the chart does so before Helm deletes the rest",
    },
    definitions: { type: "boolean", about: "delete the definitions of ours too, and every resource of those kinds" },
  },
  examples: [["weft uninstall --dry-run", "Only look"]],
  run: async (context, { flags }) => {
    const { client } = context.cluster();
    const { signal, meshNamespace } = context;
    const helm = flags.agents ? undefined : await checkHelm(client, meshNamespace, signal);
    if (helm !== undefined) throw new Failure(helm.what, helm.todo);
    const parts = meshParts(undefined).filter(({ type }) => type.kind !== "Namespace");
    const agents = parts.filter(({ type }) => type.kind === "DaemonSet");
    if (flags.agents && !flags["dry-run"]) {
      await remove(context, agents);
      await agentsGone(context);
      return undefined;
    }
    const others = parts.filter((part) => !agents.includes(part)).reverse();
    const made = await leftBehind(client, meshNamespace, signal);
    const ours = flags.definitions ? await ownDefinitions(context) : [];
    const all = [...agents, ...others, ...made, ...ours];
    if (flags["dry-run"]) {
      for (const part of all) context.out(`${nameOf(part)}: deleted if it is there (dry run)\n`);
      return undefined;
    }
    await remove(context, agents);
    // While their account is still good for the API: they have annotations to take away.
    await agentsGone(context);
    await remove(context, [...others, ...made, ...ours]);
    context.out(`${context.paint.good("✔")} Weft is gone\n`);
    return undefined;
  },
});

async function remove(context: Context, parts: readonly Part[]): Promise<void> {
  const { client } = context.cluster();
  for (const part of parts) {
    if (await deletePart(part, client, context.signal)) context.out(`${nameOf(part)}: deleted\n`);
  }
}

async function agentsGone(context: Context): Promise<void> {
  const { client } = context.cluster();
  const { signal, meshNamespace: namespace } = context;
  const deadline = performance.now() + AGENTS_LEAVE_MS;
  for (;;) {
    const { items } = await client.list(PODS, { namespace, labelSelector: "app=weft-agent", signal });
    if (items.length === 0) return;
    if (performance.now() > deadline) {
      const names = items.map(({ metadata }) => metadata.name).join(", ");
      throw new Failure(
        `agents do not end: ${names}`,
        "when their nodes are gone, delete the pods; then give the command again",
      );
    }
    context.progress(`${items.length} agents leave their nodes`);
    await pause(POLL_MS, signal);
    signal.throwIfAborted();
  }
}

async function ownDefinitions(context: Context): Promise<Part[]> {
  const { client } = context.cluster();
  const [first] = definitions();
  if (first === undefined) return [];
  const labelSelector = "app.kubernetes.io/part-of=weft";
  const { items } = await client.list(first.type, { labelSelector, signal: context.signal });
  return items.map((object) => ({ type: first.type, object }));
}
