/** Flags that commands of waypoints share. */
import type { Flags } from "../../frame/flags.ts";
import { TRAFFIC_TYPES, WAYPOINT_CLASS, WAYPOINT_CLASSES } from "../../mesh/waypoint-manifest.ts";

export const NAME = {
  name: { type: "string", value: "NAME", about: "the Gateway's name (default: waypoint)" },
} as const satisfies Flags;

export const MANIFEST = {
  ...NAME,
  for: { type: "string", value: "TYPE", choices: TRAFFIC_TYPES, about: "what traffic it is for (default: service)" },
  revision: { type: "string", short: "r", value: "REVISION", about: "label it with this revision" },
  class: {
    type: "string",
    value: "CLASS",
    choices: WAYPOINT_CLASSES,
    about: `GatewayClass of it (default: ${WAYPOINT_CLASS})`,
  },
} as const satisfies Flags;
