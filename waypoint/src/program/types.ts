/** Types of the L7 program on the wire, in the order in which they are asked for and applied. */
import type { DescMessage } from "@bufbuild/protobuf";
import {
  ClusterSchema,
  DestinationSchema,
  EndpointsSchema,
  JwtSchema,
  ListenerSchema,
  PolicySchema,
  RouteGroupSchema,
  SettingsSchema,
  TelemetrySchema,
} from "#proto/l7_pb.ts";
import type { L7Type } from "../native.ts";

interface ProgramType {
  readonly schema: DescMessage;
  /** The list of it in a local file. */
  readonly list: string;
}

/** What is pointed to comes before what points to it. */
export const PROGRAM_TYPES: Readonly<Record<L7Type, ProgramType>> = {
  Settings: { schema: SettingsSchema, list: "settings" },
  Cluster: { schema: ClusterSchema, list: "clusters" },
  Endpoints: { schema: EndpointsSchema, list: "endpoints" },
  Policy: { schema: PolicySchema, list: "policies" },
  Jwt: { schema: JwtSchema, list: "jwt" },
  Telemetry: { schema: TelemetrySchema, list: "telemetry" },
  RouteGroup: { schema: RouteGroupSchema, list: "routeGroups" },
  Listener: { schema: ListenerSchema, list: "listeners" },
  Destination: { schema: DestinationSchema, list: "destinations" },
};

export const L7_TYPES = Object.keys(PROGRAM_TYPES) as readonly L7Type[];

/** The one Settings resource's name. */
export const SETTINGS_NAME = "settings";

export function typeUrlOf(type: L7Type): string {
  return `type.googleapis.com/weft.l7.${type}`;
}
