/** `weft waypoint` */
import { group } from "../../frame/command.ts";
import { applyCommand } from "./apply.ts";
import { deleteCommand } from "./delete.ts";
import { generateCommand } from "./generate.ts";
import { listCommand } from "./list.ts";
import { statusCommand } from "./status.ts";

export const waypointGroup = group({
  name: "waypoint",
  summary: "make, list and delete waypoints",
  commands: [applyCommand, generateCommand, listCommand, statusCommand, deleteCommand],
  examples: [["weft waypoint apply -n shop --enroll-namespace --wait", "HTTP policies for a namespace"]],
});
