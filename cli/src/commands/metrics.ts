/** `weft metrics`: traffic as agents and waypoints count it, without a Prometheus. */
import { setTimeout } from "node:timers/promises";
import { AdminPort, METRICS_PORT } from "../cluster/admin-port.ts";
import { askAll } from "../cluster/ask.ts";
import { agentPods, waypointPods } from "../cluster/mesh-pods.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import { since, type TrafficRow, trafficRows } from "../mesh/traffic.ts";
import type { Column } from "../output/table.ts";

const MAX_INTERVAL_S = 3600;

export const metricsCommand = command({
  name: "metrics",
  summary: "show traffic between workloads as agents and waypoints count it",
  description:
    "Sums since each process began, or with --interval what came within that time. REPORTER says who has counted: source and destination count the same connection once each. No Prometheus is needed; --raw prints what one would scrape.",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  flags: {
    node: { type: "string", value: "NODE", about: "only of the agent of this node" },
    interval: { type: "string", value: "SECONDS", about: "count for so long, and show only that" },
    reporter: { type: "string", value: "REPORTER", about: "only of source, destination or waypoint" },
    raw: { type: "boolean", about: "the text that Prometheus scrapes" },
  },
  examples: [
    ["weft metrics", "All traffic so far"],
    ["weft metrics -n shop --interval 10 --reporter source", "Who talks to whom in a namespace, right now"],
    ["weft metrics --raw --node node1", "Everything that one agent counts"],
  ],
  run: async (context, { flags }) => {
    const { node, reporter } = flags;
    if (flags.raw) return raw(context, node);
    const seconds = flags.interval === undefined ? undefined : interval(flags.interval);
    const first = await scrape(context, node);
    let rows = trafficRows(first.pages.values());
    let { failed } = first;
    if (seconds !== undefined) {
      context.progress(`counting for ${seconds} s`);
      await setTimeout(seconds * 1000, undefined, { signal: context.signal });
      const second = await scrape(context, node);
      rows = since(rows, trafficRows(second.pages.values()));
      failed += second.failed;
    }
    const { givenNamespace: namespace } = context;
    const isOf = (name: string) => namespace === undefined || name.endsWith(`.${namespace}`);
    const wanted = rows.filter(
      (row) => (reporter === undefined || row.reporter === reporter) && (isOf(row.source) || isOf(row.destination)),
    );
    context.print.rows(wanted, COLUMNS, "no traffic was counted");
    return failed === 0 ? EXIT.done : EXIT.failed;
  },
});

const COLUMNS: readonly Column<TrafficRow>[] = [
  { title: "REPORTER", of: ({ reporter }) => reporter },
  { title: "SOURCE", of: ({ source }) => source },
  { title: "DESTINATION", of: ({ destination }) => destination },
  { title: "CONNECTIONS", of: ({ connections }) => connections },
  { title: "REQUESTS", of: ({ requests }) => requests },
  { title: "ERRORS", of: ({ errors }) => errors },
  { title: "SENT", of: ({ sentBytes }) => sentBytes },
  { title: "RECEIVED", of: ({ receivedBytes }) => receivedBytes },
  { title: "SERVICE", of: ({ service }) => service, wide: true },
];

async function raw(context: Context, node: string | undefined): Promise<number> {
  const { pages, failed } = await scrape(context, node);
  for (const [pod, page] of pages) context.out(`# pod ${pod}\n${page}`);
  return failed === 0 ? EXIT.done : EXIT.failed;
}

/** Pages by pod. With a node, only its agent. */
async function scrape(context: Context, node: string | undefined) {
  const [agents, waypoints] = await Promise.all([
    agentPods(context, { node }),
    node === undefined ? waypointPods(context, undefined) : [],
  ]);
  const { answers, failed } = await askAll(context, [...agents, ...waypoints], (_port, pod) =>
    new AdminPort(context.cluster(), pod, context.signal, METRICS_PORT).text("/metrics"),
  );
  return { pages: new Map(answers.map(([pod, page]) => [`${pod.namespace}/${pod.name}`, page])), failed };
}

function interval(text: string): number {
  const number = Number(text);
  if (number >= 0.1 && number <= MAX_INTERVAL_S) return number;
  throw new UsageError(`--interval ${text}: 0.1 to ${MAX_INTERVAL_S} seconds are expected`);
}
