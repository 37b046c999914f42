/** `weft proxy-config secrets` */
import { command } from "../../frame/command.ts";
import { chosenWaypoint, WAYPOINT_ARGUMENT, waypointDump } from "../../mesh/program.ts";
import { certificateRows } from "../../mesh/views.ts";

export const secretsCommand = command({
  name: "secrets",
  aliases: ["secret", "s"],
  summary: "show the certificates of a waypoint; keys are never shown",
  cluster: true,
  output: ["table", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  examples: [["weft pc secret waypoint.shop", "Who it is, and until when"]],
  run: async (context, { args }) => {
    const pod = await chosenWaypoint(context, args[0]);
    const { certificates } = await waypointDump(context, pod);
    context.print.rows(
      certificates.flatMap((each) => certificateRows(each, pod.node)),
      [
        { title: "RESOURCE NAME", of: ({ type, identity }) => (type === "Root" ? "ROOTCA" : identity) },
        { title: "TYPE", of: ({ type }) => (type === "Root" ? "CA" : "Cert Chain") },
        { title: "STATUS", of: ({ state }) => state },
        { title: "VALID CERT", of: ({ valid }) => String(valid) },
        { title: "SERIAL NUMBER", of: ({ serialNumber }) => serialNumber },
        { title: "NOT AFTER", of: ({ notAfter }) => notAfter },
        { title: "NOT BEFORE", of: ({ notBefore }) => notBefore },
      ],
      "it has no certificates of the mesh's authority",
    );
    return undefined;
  },
});
