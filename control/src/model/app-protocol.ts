import { AppProtocol } from "#proto/workload_pb.ts";

/** A Map: the keys that are looked up come from users, and `constructor` is a member of every object. */
const PROTOCOLS: ReadonlyMap<string, AppProtocol> = new Map(
  Object.entries({
    http: AppProtocol.HTTP11,
    "kubernetes.io/ws": AppProtocol.HTTP11,
    http2: AppProtocol.HTTP2,
    "kubernetes.io/h2c": AppProtocol.HTTP2,
    grpc: AppProtocol.GRPC,
    "grpc-web": AppProtocol.HTTP11,
    https: AppProtocol.TLS,
    "kubernetes.io/wss": AppProtocol.TLS,
    tls: AppProtocol.TLS,
    tcp: AppProtocol.TCP,
    mongo: AppProtocol.TCP,
    redis: AppProtocol.TCP,
    mysql: AppProtocol.TCP,
  }),
);

/** `declared` wins; else what the port's name begins with; else unknown. */
export function appProtocolOf(declared: string | undefined, portName: string): AppProtocol {
  const stated = declared === undefined ? undefined : PROTOCOLS.get(declared.toLowerCase());
  if (stated !== undefined) return stated;
  const name = portName.toLowerCase();
  if (name === "grpc-web" || name.startsWith("grpc-web-")) return AppProtocol.HTTP11;
  return PROTOCOLS.get(name.split("-", 1)[0] ?? "") ?? AppProtocol.UNKNOWN;
}

/** As people are told of it. */
export function protocolName(protocol: AppProtocol): string {
  const [name] = Object.entries(AppProtocol).find(([, value]) => value === protocol) ?? [];
  return name ?? String(protocol);
}
