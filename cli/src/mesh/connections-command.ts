/** Commands that show open connections, once or as they come and go. */
import { setTimeout } from "node:timers/promises";
import { type Command, command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import { tableText } from "../output/table.ts";
import { type AgentChoice, askAgents } from "./agent-dump.ts";
import { AddressNames, CONNECTION_COLUMNS, type ConnectionRow, connectionKey, connectionRows } from "./connections.ts";
import { AGENT_ARGUMENT, NODE_FLAG, type ViewNames } from "./view-command.ts";

const DEFAULT_INTERVAL_S = 2;
const CLEAR_SCREEN = "\x1b[H\x1b[2J\x1b[3J";
const NOTHING = "no connections are open";

export function connectionsCommand({ parent, ...names }: Omit<ViewNames, "namespaceFlag">): Command {
  const line = `${parent} ${names.name}`;
  return command({
    ...names,
    description:
      "Connections of the pods that agents look after. PROTOCOL is HBONE (a tunnel), TCP, or DIRECT: between two pods of a node, where the kernel alone carries them.\n\nWith --watch, a terminal shows what is open now; elsewhere each connection is a line when it opens (+) and when it is gone (-).",
    cluster: true,
    output: ["table", "wide", "json", "yaml"],
    args: [AGENT_ARGUMENT],
    flags: {
      node: NODE_FLAG,
      watch: { type: "boolean", short: "w", about: "go on until Ctrl-C" },
      interval: {
        type: "string",
        value: "SECONDS",
        about: `with --watch, how often to ask (default: ${DEFAULT_INTERVAL_S})`,
      },
      raw: { type: "boolean", about: "addresses instead of names" },
    },
    examples: [
      [line, "What is open in the whole mesh"],
      [`${line} -n shop --watch`, "Of the pods of one namespace, as they come and go"],
      [`${line} --node node1 --raw -o json`, "Of one node, for a program"],
    ],
    run: async (context, { args, flags }) => {
      const choice: AgentChoice = { node: flags.node, pod: args[0] };
      const intervalMs = seconds(flags.interval ?? String(DEFAULT_INTERVAL_S)) * 1000;
      const addresses = new AddressNames();
      if (!flags.raw) addresses.add(await askAgents(context, choice, ["workloads", "services"]));
      const ask = async () => {
        const answers = await askAgents(context, choice, ["workloadState"]);
        const { givenNamespace: namespace } = context;
        const all = connectionRows(answers, addresses);
        return { rows: all.filter((row) => namespace === undefined || row.namespace === namespace), ...answers };
      };
      if (flags.watch) return watch(context, intervalMs, async () => (await ask()).rows);
      const { rows, failed } = await ask();
      context.print.rows(rows, CONNECTION_COLUMNS, NOTHING);
      return failed === 0 ? EXIT.done : EXIT.failed;
    },
  });
}

/** Asks until Ctrl-C, which is how it is meant to end. */
async function watch(context: Context, intervalMs: number, ask: () => Promise<ConnectionRow[]>): Promise<number> {
  const show = context.isTerminal && !context.print.isData ? screen(context) : log(context);
  while (!context.signal.aborted) {
    try {
      show(await ask());
      await setTimeout(intervalMs, undefined, { signal: context.signal });
    } catch (error) {
      if (!context.signal.aborted) throw error;
    }
  }
  return EXIT.done;
}

function screen({ out, print }: Context): (rows: readonly ConnectionRow[]) => void {
  return (rows) => {
    const table = rows.length === 0 ? `${NOTHING}\n` : tableText(rows, CONNECTION_COLUMNS, print.format === "wide");
    out(CLEAR_SCREEN + table);
  };
}

/** One line for each that has opened or is gone since the last time. */
function log({ out, print, paint }: Context): (rows: readonly ConnectionRow[]) => void {
  let known = new Map<string, ConnectionRow>();
  const line = (event: "opened" | "closed", row: ConnectionRow) => {
    if (print.isData) return out(`${JSON.stringify({ event, ...row })}\n`);
    const sign = event === "opened" ? paint.good("+") : paint.faint("-");
    const shown = CONNECTION_COLUMNS.filter(({ wide }) => wide !== true || print.format === "wide");
    return out(`${sign} ${shown.map(({ of }) => of(row) || "-").join("  ")}\n`);
  };
  return (rows) => {
    const now = new Map(rows.map((row) => [connectionKey(row), row]));
    for (const [key, row] of now) if (!known.has(key)) line("opened", row);
    for (const [key, row] of known) if (!now.has(key)) line("closed", row);
    known = now;
  };
}

function seconds(text: string): number {
  const number = Number(text);
  if (!(number >= 0.1 && number <= 3600)) throw new UsageError(`--interval ${text}: 0.1 to 3600 seconds are expected`);
  return number;
}
