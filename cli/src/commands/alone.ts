/**
 * Commands that are loaded alone when the command line begins with them: to look at a mesh needs a third of what the
 * analysis of a mesh does, and half of the time of a short command is loading. A test holds this table against the tree.
 */
import { type Command, type Group, group } from "../frame/command.ts";

type Load = () => Promise<readonly (Command | Group)[]>;

const observe: Load = async () => (await import("./observe.ts")).observeCommands;

const LOADS: Readonly<Record<string, Load>> = {
  status: async () => [(await import("./status.ts")).statusCommand],
  workloads: observe,
  services: observe,
  policies: observe,
  certs: observe,
  connections: observe,
  waypoint: async () => [(await import("./waypoint/index.ts")).waypointGroup],
  logs: async () => [(await import("./logs.ts")).logsCommand],
  "log-level": async () => [(await import("./log-level.ts")).logLevelCommand],
  metrics: async () => [(await import("./metrics.ts")).metricsCommand],
  dashboard: async () => [(await import("./dashboard.ts")).dashboardCommand],
  "proxy-config": async () => [(await import("./proxy-config/index.ts")).proxyConfigGroup],
  "ztunnel-config": async () => [(await import("./ztunnel-config/index.ts")).ztunnelConfigGroup],
  "bug-report": async () => [(await import("./bug-report.ts")).bugReportCommand],
  version: async () => [(await import("./version.ts")).versionCommand],
  playground: async () => [(await import("./playground/index.ts")).playgroundGroup],
};

/** Names in the tree that people type more often than the first one. */
const ALIASES: Readonly<Record<string, string>> = {
  ps: "status",
  "proxy-status": "status",
  pc: "proxy-config",
  zc: "ztunnel-config",
};

/** The words that this table knows. */
export const ALONE: readonly string[] = [...Object.keys(LOADS), ...Object.keys(ALIASES)];

/** The root of the tree, with no more in it than the command that `first` names where that is known to do. */
export async function rootFor(first: string | undefined): Promise<Group> {
  const name = first === undefined ? undefined : (ALIASES[first] ?? first);
  const load = name !== undefined && Object.hasOwn(LOADS, name) ? LOADS[name] : undefined;
  if (load === undefined) return (await import("./index.ts")).COMMANDS;
  return group({ name: "weft", summary: "a service mesh without sidecars", commands: await load() });
}
