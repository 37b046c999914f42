/** `weft check`, and what `weft install` asks before it touches anything. */

import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { EXIT, Failure } from "../../frame/errors.ts";
import { type Check, checkCluster, checkHelm, checkRights } from "../../install/checks.ts";
import { definitions, meshParts } from "../../install/manifests.ts";

export const checkCommand = command({
  name: "check",
  summary: "say whether a cluster can have Weft, and what its nodes' kernels lack",
  description:
    "Errors keep weft install from beginning. Warnings name what will not be there, or will be slower, on a node. Nothing is changed.",
  cluster: true,
  exitCodes: [[EXIT.failed, "an error was found"]],
  examples: [["weft check", "Before installing"]],
  run: async (context) => {
    const checks = await allChecks(context);
    for (const check of checks) context.out(`${line(context, check)}\n`);
    return checks.some(({ severity }) => severity === "error") ? EXIT.failed : EXIT.done;
  },
});

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
