/** Who makes a call, by its headers; nothing of its messages need be read for it. */
import type { GrpcCall } from "../grpc/call.ts";
import type { GrpcStatus } from "../grpc/status.ts";
import type { CallerIdentity, TokenAuthenticator } from "./token-authenticator.ts";

/** What a refused caller is told. */
export interface Refusal {
  readonly code: GrpcStatus;
  readonly details: string;
}

export function authenticateCall(authenticator: TokenAuthenticator, call: GrpcCall): Promise<CallerIdentity> {
  const { peer } = call;
  const address = peer.slice(0, peer.lastIndexOf(":"));
  return authenticator.authenticate(call.header("authorization"), call.header("clusterid"), address);
}
