/** `weft playground up|down|status`. */
import { parseArgs } from "node:util";
import { tearDown } from "../../playground/src/down.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { type Playground, startPlayground } from "../../playground/src/playground.ts";
import { checkName, isEnding, playgroundNames, readState } from "../../playground/src/state.ts";
import { playgroundStatus } from "./playground-status.ts";
import { UsageError } from "./usage.ts";

const HELP = `weft playground: a cluster on this machine, in network namespaces of its own

Usage:
  weft playground up [--name NAME] [--nodes N] [--api-port PORT] [--no-mesh]
  weft playground down [--name NAME | --all]
  weft playground status [--name NAME]

Options:
  --name NAME       which playground (default: demo); several may run side by side
  --nodes N         number of nodes (default: 2)
  --api-port PORT   port of the API on 127.0.0.1 (default: any free one)
  --no-mesh         only the cluster, without control plane and agents
  --all             down: every playground there is
`;

const DEFAULT_NAME = "demo";

export async function playgroundCommand(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  const { values } = parse(rest);
  if (values.help || verb === "--help" || verb === "-h") {
    process.stdout.write(HELP);
    return 0;
  }
  const name = values.name ?? DEFAULT_NAME;
  checkName(name);
  if (["up", "down", "status"].includes(verb ?? "") && process.getuid?.() !== 0) {
    throw new Error(`a playground needs root: sudo weft playground ${verb}`);
  }
  switch (verb) {
    case "up":
      return up({
        name,
        nodes: wholeNumber("--nodes", values.nodes ?? "2"),
        apiPort: wholeNumber("--api-port", values["api-port"] ?? "0"),
        hasMesh: values["no-mesh"] !== true,
      });
    case "down":
      return down(values.all ? playgroundNames() : [name]);
    case "status":
      return status(name);
    case undefined:
      process.stderr.write(HELP);
      return 2;
    default:
      throw new UsageError(`there is no "playground ${verb}"; see weft playground --help`);
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        name: { type: "string" },
        nodes: { type: "string" },
        "api-port": { type: "string" },
        "no-mesh": { type: "boolean" },
        all: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new UsageError(`${option} ${text}: a whole number is expected`);
  return Number(text);
}

interface UpOptions {
  readonly name: string;
  readonly nodes: number;
  readonly apiPort: number;
  readonly hasMesh: boolean;
}

async function up({ name, nodes, apiPort, hasMesh }: UpOptions): Promise<number> {
  const begun = performance.now();
  const say = (text: string) => process.stdout.write(`${text}\n`);
  const elapsed = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  const report = (message: string) => process.stderr.write(`${message}\n`);
  const playground = await startPlayground({ name, nodes, apiPort, report });
  await using _ended = playground;
  const end = untilEnd(playground);
  say(`playground ${name} is up after ${elapsed()}: ${nodes} nodes, API at https://127.0.0.1:${playground.api.port}`);
  if (hasMesh) {
    const mesh = await Promise.race([deployMesh(playground), end]);
    if (typeof mesh === "number") return mesh;
    say(`the mesh is ready after ${elapsed()}`);
    for (const [node, { metrics }] of mesh.agents)
      say(`  metrics of ${node}: http://127.0.0.1:${metrics.port}/metrics`);
  }
  say(`  export KUBECONFIG=${playground.kubeconfig}`);
  say("Ctrl-C ends it.");
  // Awaited here: the playground ends with this scope.
  return await end;
}

/** Waits for a signal, or for a part of the playground to fail. */
async function untilEnd(playground: Playground): Promise<number> {
  const signalled = new Promise<undefined>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve(undefined));
  });
  const failure = await Promise.race([signalled, playground.failed]);
  if (failure === undefined) return 0;
  if (isEnding(playground.name)) {
    process.stdout.write(`playground ${playground.name} was ended from elsewhere\n`);
    return 0;
  }
  process.stderr.write(`weft: ${failure}\n`);
  return 1;
}

async function down(names: readonly string[]): Promise<number> {
  for (const name of names) {
    await tearDown(name);
    process.stdout.write(`playground ${name} is gone\n`);
  }
  return 0;
}

async function status(name: string): Promise<number> {
  const state = readState(name);
  if (state === undefined) {
    const others = playgroundNames();
    const hint = others.length === 0 ? "none is running" : `running: ${others.join(", ")}`;
    throw new Error(`there is no playground "${name}"; ${hint}`);
  }
  process.stdout.write(await playgroundStatus(state));
  return 0;
}
