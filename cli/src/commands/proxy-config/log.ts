/** `weft proxy-config log` */
import { command } from "../../frame/command.ts";
import { LOG_LEVEL_FLAGS, logLevels } from "../../mesh/log-level.ts";
import { chosenWaypoint, WAYPOINT_ARGUMENT } from "../../mesh/program.ts";

export const waypointLogCommand = command({
  name: "log",
  aliases: ["o"],
  summary: "show or set the log levels of a waypoint",
  cluster: true,
  output: ["table", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  flags: LOG_LEVEL_FLAGS,
  examples: [["weft pc log waypoint.shop --level debug", "Hear more of one waypoint"]],
  run: async (context, { args, flags }) => logLevels(context, [await chosenWaypoint(context, args[0])], flags),
});
