/** Commands that show one kind of objects that agents hold. */
import { type Command, command } from "../frame/command.ts";
import { EXIT } from "../frame/errors.ts";
import type { Flag } from "../frame/flags.ts";
import { type AgentPart, askAgents } from "./agent-dump.ts";
import type { View } from "./views.ts";

export interface ViewNames {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** The words before `name`. */
  readonly parent: string;
  /** Another spelling of `--namespace`, as istioctl has it here. */
  readonly namespaceFlag?: string;
}

export const NODE_FLAG = {
  type: "string",
  value: "NODE",
  about: "ask only the agent of this node (default: all, merged)",
} as const satisfies Flag;

export const AGENT_ARGUMENT = {
  name: "AGENT",
  optional: true,
  about: "pod of an agent, POD or POD.NAMESPACE (default: all of them, merged)",
};

export function viewCommand<T>(view: View<T>, { parent, namespaceFlag, ...names }: ViewNames): Command {
  const line = `${parent} ${names.name}`;
  return command({
    ...names,
    cluster: true,
    output: ["table", "wide", "json", "yaml"],
    args: [AGENT_ARGUMENT],
    flags: {
      node: NODE_FLAG,
      ...(namespaceFlag === undefined
        ? {}
        : { [namespaceFlag]: { type: "string", value: "NAMESPACE", about: "only of this namespace; as --namespace" } }),
    } as { node: typeof NODE_FLAG } & Record<string, Flag>,
    examples: [
      [line, "Of the whole mesh"],
      [`${line} --node node1 -o wide`, "What the agent of one node knows, with more columns"],
      [`${line} -n shop -o json`, "Of one namespace, for a program"],
    ],
    run: async (context, { args, flags }) => {
      const answers = await askAgents<AgentPart>(context, { node: flags.node, pod: args[0] }, [view.part]);
      const namespace = context.givenNamespace ?? (namespaceFlag === undefined ? undefined : flags[namespaceFlag]);
      const rows = view.rows(answers).filter((row) => namespace === undefined || view.namespaceOf(row) === namespace);
      context.print.rows(rows, view.columns, view.nothing);
      return answers.failed === 0 ? EXIT.done : EXIT.failed;
    },
  });
}
