/** The command tree: one line per command. */
import { group } from "../frame/command.ts";
import { analyzeCommand } from "./analyze.ts";
import { authzGroup } from "./authz/index.ts";
import { bugReportCommand } from "./bug-report.ts";
import { completionCommand } from "./completion.ts";
import { dashboardCommand } from "./dashboard.ts";
import { describeGroup } from "./describe.ts";
import { experimentalGroup } from "./experimental.ts";
import { installCommand, upgradeCommand } from "./install/install.ts";
import { checkCommand } from "./install/preflight.ts";
import { uninstallCommand } from "./install/uninstall.ts";
import { verifyCommand } from "./install/verify.ts";
import { logLevelCommand } from "./log-level.ts";
import { logsCommand } from "./logs.ts";
import { metricsCommand } from "./metrics.ts";
import { observeCommands } from "./observe.ts";
import { playgroundGroup } from "./playground/index.ts";
import { proxyConfigGroup } from "./proxy-config/index.ts";
import { statusCommand } from "./status.ts";
import { traceCommand } from "./trace.ts";
import { versionCommand } from "./version.ts";
import { waypointGroup } from "./waypoint/index.ts";
import { ztunnelConfigGroup } from "./ztunnel-config/index.ts";

export const COMMANDS = group({
  name: "weft",
  summary: "a service mesh without sidecars",
  commands: [
    checkCommand,
    installCommand,
    upgradeCommand,
    uninstallCommand,
    verifyCommand,
    statusCommand,
    analyzeCommand,
    authzGroup,
    describeGroup,
    traceCommand,
    ...observeCommands,
    waypointGroup,
    logsCommand,
    logLevelCommand,
    metricsCommand,
    dashboardCommand,
    proxyConfigGroup,
    ztunnelConfigGroup,
    experimentalGroup,
    bugReportCommand,
    versionCommand,
    playgroundGroup,
    completionCommand,
  ],
});
