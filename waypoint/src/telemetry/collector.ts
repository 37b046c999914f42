/** A collector of spans as a cluster of the program: the engine asks it, with the pools, tunnels and TLS of traffic. */
import type { OwnAnswer, OwnRequest } from "../native.ts";

export type CallCluster = (request: OwnRequest) => Promise<OwnAnswer>;

const REDIRECTION = 300;
const OK = 200;

/** One POST. Rejects unless it was taken. */
export async function postSpans(call: CallCluster, request: OwnRequest): Promise<void> {
  const { failure, status } = await call(request);
  if (failure !== "") throw new Error(failure);
  if (status < OK || status >= REDIRECTION) throw new Error(`${request.path} answered ${status}`);
}
