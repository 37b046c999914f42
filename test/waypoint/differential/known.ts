/** Where the waypoint is meant to be other than Envoy, and why. */
import type { TestRequest } from "./requests.ts";
import { type Difference, differencesOf, type View } from "./view.ts";

export interface Known {
  readonly reason: string;
  readonly key: RegExp;
  readonly weft?: RegExp;
  readonly envoy?: RegExp;
}

export const KNOWN: readonly Known[] = [
  {
    reason:
      "A waypoint of Istio leaves x-forwarded-for to others. Ours says whom it saw, as gateways do: then nobody has to believe the client.",
    key: /^(upstream|copy)\d+\.header\.x-forwarded-for$/,
    weft: /(^|,)127\.0\.0\.1$/,
  },
  {
    reason: "Envoy closes connections of which it has not read the request; ours reads on, in bounds, and keeps them.",
    key: /^client\.header\.connection$/,
    weft: /^\(none\)$/,
    envoy: /^close$/,
  },
  {
    reason: "A hint of Envoy to Envoy about its own timeouts.",
    key: /^(upstream|copy)\d+\.header\.x-envoy-expected-rq-timeout-ms$/,
    weft: /^\(none\)$/,
  },
  {
    reason:
      "A body that its connection's end cuts short is the end of a connection (UC); Envoy's parser of HTTP/1 calls it an error of the protocol.",
    key: /^log\.(flags|details)$/,
    weft: /^(flags=UC|details=upstream_reset_after_response_started\{connection_termination\})$/,
    envoy: /^(flags=UPE|details=upstream_reset_after_response_started\{protocol_error\})$/,
  },
  {
    reason: "An empty body may be announced or not (RFC 9110, 8.6).",
    key: /^(client|upstream\d+)\.header\.content-length$/,
    weft: /^(0|\(none\))$/,
    envoy: /^(0|\(none\))$/,
  },
  {
    reason: "An empty body that came in chunks needs none on its way.",
    key: /^upstream\d+\.header\.transfer-encoding$/,
    weft: /^\(none\)$/,
    envoy: /^chunked$/,
  },
  {
    reason: "The deadline is the same in other units, or Envoy's own, of which it tells servers.",
    key: /^(upstream|copy)\d+\.header\.grpc-timeout$/,
  },
  {
    reason: "A copy has its body whole and says how long it is; it has no trailers and asks for no go-ahead.",
    key: /^copy\d+\.(trailer\..*|header\.(content-length|transfer-encoding|expect|x-envoy-internal))$/,
  },
  {
    reason: "The host before a rewrite: Istio's reference names no such header.",
    key: /^(upstream|copy)\d+\.header\.x-envoy-original-host$/,
    weft: /^\(none\)$/,
  },
  {
    reason:
      "The test's client leaves once it has its answer; of that Envoy says so when the request had not all been read.",
    key: /^log\.(flags|details)$/,
    weft: /^(flags=(?!.*DC)|details=)/,
    envoy: /^(flags=(.*,)?DC\b.*|details=downstream_remote_disconnect)$/,
  },
  {
    reason: "A preflight of an origin that is not allowed: without allow-origin the rest tells a browser nothing.",
    key: /^client\.header\.access-control-(allow-(methods|headers|credentials)|expose-headers|max-age)$/,
    weft: /^\(none\)$/,
  },
  {
    reason: "A default port is not written (Istio's reference); Envoy keeps the client's.",
    key: /^client\.header\.location$/,
    weft: /^https?:\/\/(\[[^\]]*\]|[^/:]+)\//,
    envoy: /^(https:\/\/[^/]+:443|http:\/\/[^/]+:80)\//,
  },
  {
    reason: "Interim answers go on, all of them (RFC 9110, 15.2); Envoy passes on the first.",
    key: /^client\.informational$/,
    weft: /^100 103$/,
    envoy: /^100$/,
  },
  {
    reason: "Both are right about HEAD without a length (RFC 9110, 8.6 and 9.3.2).",
    key: /^client\.header\.transfer-encoding$/,
    weft: /^\(none\)$/,
    envoy: /^chunked$/,
  },
];

export interface KnownRequest {
  readonly reason: string;
  when(request: TestRequest): boolean;
  /** What the waypoint makes of it; nothing more is compared. */
  readonly weft: { readonly key: string; readonly value: RegExp };
}

export const KNOWN_REQUESTS: readonly KnownRequest[] = [
  {
    reason: "An escape that is none, or of a NUL, is read differently by every server: it is not passed on.",
    when: ({ path }) => /%(zz|00)/.test(path.split("?")[0] ?? ""),
    weft: { key: "log.details", value: /^details=path_normalization_failed$/ },
  },
  {
    reason: "A fragment is refused by both; Envoy has chosen a route by then.",
    when: ({ path }) => path.includes("#"),
    weft: { key: "log.details", value: /^details=path_normalization_failed$/ },
  },
  {
    reason:
      "Envoy takes an interim answer for the beginning of the answer and tries no more; here it begins with its status.",
    when: ({ headers, script }) =>
      headers.some(([name]) => name === "expect") && ((script.failures ?? 0) > 0 || (script.status ?? 200) >= 400),
    weft: { key: "client.informational", value: /^100/ },
  },
  {
    reason: "Who says x-envoy-overloaded is not asked again, as Istio's reference has it; Envoy 1.40 asks.",
    when: ({ script }) =>
      (script.status ?? 200) >= 400 && (script.headers ?? []).some(([name]) => name === "x-envoy-overloaded"),
    weft: { key: "attempts", value: /^1$/ },
  },
  {
    reason: "What is no HTTP is refused by both; Envoy says so in the body.",
    when: ({ path }) => path.includes(" "),
    weft: { key: "client.status", value: /^400$/ },
  },
];

/** Differences that nobody has thought of. */
export function unknownOf(request: TestRequest, weft: View, envoy: View): Difference[] {
  const known = (each: KnownRequest) => each.when(request) && each.weft.value.test(weft.get(each.weft.key) ?? "");
  if (KNOWN_REQUESTS.some(known)) return [];
  return differencesOf(weft, envoy).filter((each) => !isKnown(each));
}

function isKnown({ key, weft, envoy }: Difference): boolean {
  return KNOWN.some(
    (each) => each.key.test(key) && (each.weft?.test(weft) ?? true) && (each.envoy?.test(envoy) ?? true),
  );
}
