/** Runs one command line to its exit code. */
import { explained } from "../cluster/explain.ts";
import { findCluster } from "../cluster/find.ts";
import { COLOURS, NO_COLOUR } from "../output/colour.ts";
import { Printer } from "../output/printer.ts";
import { Progress } from "../output/progress.ts";
import type { Command, Group, ParsedInput } from "./command.ts";
import { COMPLETE, completions } from "./completion.ts";
import type { Cluster, Context, Surroundings } from "./context.ts";
import { EXIT, Failure, UsageError } from "./errors.ts";
import { FORMATS } from "./flags.ts";
import { helpText } from "./help.ts";
import { parseCommandLine } from "./parse.ts";

const DEFAULT_MESH_NAMESPACE = "istio-system";

export async function runCommandLine(root: Group, words: readonly string[], around: Surroundings): Promise<number> {
  try {
    if (words[0] === COMPLETE) {
      around.stdout.write(
        completions(root, words.slice(1))
          .map((each) => `${each}\n`)
          .join(""),
      );
      return EXIT.done;
    }
    const { command, path, input } = parseCommandLine(root, helpFirst(words));
    if (input.flags.help === true) {
      around.stdout.write(helpText(command, path));
      return EXIT.done;
    }
    if (command.kind === "group") {
      around.stderr.write(helpText(command, path));
      return EXIT.usage;
    }
    return await runCommand(command, input, around);
  } catch (error) {
    around.stderr.write(`weft: ${error instanceof Error ? error.message : String(error)}\n`);
    if (error instanceof UsageError) return EXIT.usage;
    return error instanceof Failure ? error.exitCode : EXIT.failed;
  }
}

/** `weft help status` asks what `weft status --help` does. */
function helpFirst(words: readonly string[]): readonly string[] {
  return words[0] === "help" ? [...words.slice(1), "--help"] : words;
}

async function runCommand(command: Command, input: ParsedInput, around: Surroundings): Promise<number> {
  const progress = new Progress({ isTTY: around.stderr.isTTY, write: (text) => around.stderr.write(text) });
  let cluster: Cluster | undefined;
  const text = (name: string) => input.flags[name] as string | undefined;
  const out = (line: string) => {
    progress.clear();
    around.stdout.write(line);
  };
  const context: Context = {
    env: around.env,
    signal: around.signal,
    stdin: around.stdin,
    isTerminal: around.stdout.isTTY === true,
    out,
    note: (line) => {
      progress.clear();
      around.stderr.write(`${line}\n`);
    },
    progress: (line) => progress.at(line),
    print: new Printer(FORMATS.find((each) => each === text("output")) ?? command.output?.[0] ?? "table", out),
    paint: hasColours(input, around) ? COLOURS : NO_COLOUR,
    cluster: () => {
      cluster ??= findCluster(around.env, { kubeconfig: text("kubeconfig"), context: text("context") });
      return cluster;
    },
    namespace: () =>
      input.flags["all-namespaces"] === true ? undefined : (text("namespace") ?? context.cluster().defaultNamespace),
    givenNamespace: text("namespace"),
    meshNamespace: text("mesh-namespace") ?? DEFAULT_MESH_NAMESPACE,
  };
  try {
    return (await command.run(context, input)) ?? EXIT.done;
  } catch (error) {
    if (around.signal.aborted) return EXIT.interrupted;
    throw explained(error, cluster);
  } finally {
    progress.clear();
    cluster?.client.close();
  }
}

function hasColours(input: ParsedInput, { env, stdout }: Surroundings): boolean {
  return stdout.isTTY && input.flags["no-color"] !== true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}
