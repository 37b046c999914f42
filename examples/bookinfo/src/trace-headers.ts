/**
 * Headers that tie the calls of one request together; a service copies them from its caller to whom it calls. `end-user` is
 * who the page is for: routes look at it.
 */
import type { IncomingHttpHeaders } from "node:http";

const PROPAGATED = [
  "end-user",
  "x-request-id",
  "traceparent",
  "tracestate",
  "b3",
  "x-b3-traceid",
  "x-b3-spanid",
  "x-b3-parentspanid",
  "x-b3-sampled",
  "x-b3-flags",
] as const;

/** The headers of `incoming` that go on to the next service. A repeated header keeps its first value. */
export function traceHeaders(incoming: IncomingHttpHeaders): Record<string, string> {
  const outgoing: Record<string, string> = {};
  for (const name of PROPAGATED) {
    const value = incoming[name];
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) outgoing[name] = first;
  }
  return outgoing;
}
