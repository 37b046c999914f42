import type { SessionPersistence } from "#proto/l7_pb.ts";

/** A port of a service, as routes and providers name it. Whoever puts a program together gives it a cluster. */
export interface Destination {
  /** Of the service. */
  readonly namespace: string;
  readonly hostname: string;
  readonly port: number;
  /** The rule wants its clients to stay with their endpoint: a cluster of its own. */
  readonly session?: SessionPersistence;
  /** Only gRPC goes there: HTTP/2, whatever the port is called. */
  readonly grpc?: boolean;
}

/** The name of the destination's cluster; being asked is being told that the program needs it. */
export type ClusterNamer = (destination: Destination) => string;
