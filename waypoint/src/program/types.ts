/** Types of the L7 program on the wire, in the order in which they are asked for and applied. */
import type { DescMessage } from "@bufbuild/protobuf";
import { L7_SCHEMAS } from "#lib/xds/l7-schemas.ts";
import type { L7Type } from "../native.ts";

interface ProgramType {
  readonly schema: DescMessage;
  /** The list of it in a local file. */
  readonly list: string;
}

/** What is pointed to comes before what points to it. */
export const PROGRAM_TYPES: Readonly<Record<L7Type, ProgramType>> = {
  Settings: { schema: L7_SCHEMAS.Settings, list: "settings" },
  Cluster: { schema: L7_SCHEMAS.Cluster, list: "clusters" },
  Endpoints: { schema: L7_SCHEMAS.Endpoints, list: "endpoints" },
  Policy: { schema: L7_SCHEMAS.Policy, list: "policies" },
  Jwt: { schema: L7_SCHEMAS.Jwt, list: "jwt" },
  Telemetry: { schema: L7_SCHEMAS.Telemetry, list: "telemetry" },
  RouteGroup: { schema: L7_SCHEMAS.RouteGroup, list: "routeGroups" },
  Listener: { schema: L7_SCHEMAS.Listener, list: "listeners" },
  Destination: { schema: L7_SCHEMAS.Destination, list: "destinations" },
};

export const L7_TYPES = Object.keys(PROGRAM_TYPES) as readonly L7Type[];

/** The one Settings resource's name. */
export const SETTINGS_NAME = "settings";

export function typeUrlOf(type: L7Type): string {
  return `type.googleapis.com/weft.l7.${type}`;
}
