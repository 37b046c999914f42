/** `weft proxy-config all` and `bootstrap`: everything, and what the process began with. */
import { command } from "../../frame/command.ts";
import { chosenWaypoint, programOf, WAYPOINT_ARGUMENT, waypointDump } from "../../mesh/program.ts";

export const allCommand = command({
  name: "all",
  aliases: ["a"],
  summary: "print the program of a waypoint, and what it says of it",
  cluster: true,
  output: ["json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  examples: [["weft pc all waypoint.shop -o yaml", "Everything there is to know"]],
  run: async (context, { args }) => {
    const pod = await chosenWaypoint(context, args[0]);
    const [program, waypoint] = await Promise.all([programOf(context, pod), waypointDump(context, pod)]);
    context.print.data({ sent: program, waypoint });
    return undefined;
  },
});

export const bootstrapCommand = command({
  name: "bootstrap",
  aliases: ["b"],
  summary: "print the settings that a waypoint was started with",
  cluster: true,
  output: ["json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  examples: [["weft pc bootstrap waypoint.shop", "Its settings and version"]],
  run: async (context, { args }) => {
    const { config, version } = await waypointDump(context, await chosenWaypoint(context, args[0]));
    context.print.data({ version, config });
    return undefined;
  },
});
