/** The messages of the L7 program (proto/l7.proto) by the name of their type, what is pointed to before what points to it. */
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

export const L7_SCHEMAS = {
  Settings: SettingsSchema,
  Cluster: ClusterSchema,
  Endpoints: EndpointsSchema,
  Policy: PolicySchema,
  Jwt: JwtSchema,
  Telemetry: TelemetrySchema,
  RouteGroup: RouteGroupSchema,
  Listener: ListenerSchema,
  Destination: DestinationSchema,
} as const satisfies Readonly<Record<string, DescMessage>>;
