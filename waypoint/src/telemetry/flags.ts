/** Response flags: bits as native/src/l7/flags.h numbers them, the names of logs, and Envoy's bits for CEL. */

/** Short name, long name, Envoy's bit. In the order of the enum Flag. */
export const FLAGS = [
  ["DI", "DelayInjected", 0x200],
  ["URX", "UpstreamRetryLimitExceeded", 0x8000],
  ["FI", "FaultInjected", 0x400],
  ["UO", "UpstreamOverflow", 0x80],
  ["UF", "UpstreamConnectionFailure", 0x20],
  ["NC", "NoClusterFound", 0x1000000],
  ["UH", "NoHealthyUpstream", 0x2],
  ["NR", "NoRouteFound", 0x100],
  ["DT", "DurationTimeout", 0x400000],
  ["LH", "FailedLocalHealthCheck", 0x1],
  ["UT", "UpstreamRequestTimeout", 0x4],
  ["LR", "LocalReset", 0x8],
  ["UR", "UpstreamRemoteReset", 0x10],
  ["UC", "UpstreamConnectionTermination", 0x40],
  ["RL", "RateLimited", 0x800],
  ["UAEX", "UnauthorizedExternalService", 0x1000],
  ["RLSE", "RateLimitServiceError", 0x2000],
  ["IH", "InvalidEnvoyRequestHeaders", 0x20000],
  ["SI", "StreamIdleTimeout", 0x10000],
  ["DPE", "DownstreamProtocolError", 0x40000],
  ["UPE", "UpstreamProtocolError", 0x800000],
  ["UMSDR", "UpstreamMaxStreamDurationReached", 0x80000],
  ["OM", "OverloadManagerTerminated", 0x2000000],
  ["DF", "DnsResolutionFailed", 0x4000000],
  ["DC", "DownstreamConnectionTermination", 0x4000],
  ["DR", "DownstreamRemoteReset", 0x10000000],
] as const;

/** Few combinations come up, each of them often. */
const shortTexts = new Map<number, string>([[0, "-"]]);
const MAX_TEXTS = 1024;

/** `URX,UF`, or `-`. */
export function flagsText(bits: number): string {
  const known = shortTexts.get(bits);
  if (known !== undefined) return known;
  const text = named(bits, 0);
  if (shortTexts.size < MAX_TEXTS) shortTexts.set(bits, text);
  return text;
}

/** `UpstreamRetryLimitExceeded,UpstreamConnectionFailure`, or `-`. */
export function longFlagsText(bits: number): string {
  return bits === 0 ? "-" : named(bits, 1);
}

/** What `response.flags` is in CEL. */
export function envoyFlags(bits: number): bigint {
  let sum = 0;
  for (const [i, [, , bit]] of FLAGS.entries()) if ((bits & (1 << i)) !== 0) sum += bit;
  return BigInt(sum);
}

function named(bits: number, column: 0 | 1): string {
  return FLAGS.filter((_, i) => (bits & (1 << i)) !== 0)
    .map((flag) => flag[column])
    .join(",");
}
