/** Envoy as Istio has it for a waypoint, without the tunnel: the same listeners and clusters as the waypoint's program. */
import { routeConfig } from "./envoy-routes.ts";
import type { Rule } from "./rules.ts";

const TYPE = "type.googleapis.com/envoy";
const UNLIMITED = 4_294_967_295;

export interface PlainCluster {
  readonly name: string;
  readonly http2: boolean;
  readonly endpoints: readonly { readonly ip: string; readonly port: number }[];
}

export function envoyConfig(
  rules: ReadonlyMap<string, readonly Rule[]>,
  clusters: readonly PlainCluster[],
  accessLog: string,
): object {
  return {
    static_resources: {
      listeners: [...rules].map(([name, each]) => listener(name, each, accessLog)),
      clusters: clusters.map(cluster),
    },
  };
}

function listener(name: string, rules: readonly Rule[], accessLog: string): object {
  return {
    name,
    address: { socket_address: { address: "127.0.0.1", port_value: 0 } },
    filter_chains: [
      { filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: manager(rules, accessLog) }] },
    ],
  };
}

function manager(rules: readonly Rule[], accessLog: string): object {
  const filter = (name: string, type: string) => ({
    name: `envoy.filters.http.${name}`,
    typed_config: { "@type": `${TYPE}.extensions.filters.http.${type}` },
  });
  return {
    "@type": `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "in",
    server_name: "istio-envoy",
    route_config: routeConfig(rules),
    http_filters: [
      filter("fault", "fault.v3.HTTPFault"),
      filter("cors", "cors.v3.Cors"),
      filter("router", "router.v3.Router"),
    ],
    upgrade_configs: [{ upgrade_type: "websocket" }],
    http_protocol_options: { enable_trailers: true },
    use_remote_address: false,
    normalize_path: true,
    path_with_escaped_slashes_action: "KEEP_UNCHANGED",
    proxy_100_continue: true,
    stream_idle_timeout: "0s",
    access_log: [
      {
        name: "envoy.access_loggers.stdout",
        typed_config: {
          "@type": `${TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog`,
          log_format: { text_format_source: { inline_string: accessLog } },
        },
      },
    ],
  };
}

function cluster({ name, http2, endpoints }: PlainCluster): object {
  const http_protocol = http2 ? { http2_protocol_options: {} } : { http_protocol_options: { enable_trailers: true } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "10s",
    lb_policy: "LEAST_REQUEST",
    common_lb_config: { healthy_panic_threshold: { value: 0 } },
    circuit_breakers: {
      thresholds: [
        {
          max_connections: UNLIMITED,
          max_pending_requests: UNLIMITED,
          max_requests: UNLIMITED,
          max_retries: UNLIMITED,
        },
      ],
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: endpoints.map(({ ip, port }) => ({
            endpoint: { address: { socket_address: { address: ip, port_value: port } } },
          })),
        },
      ],
    },
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: http_protocol,
      },
    },
  };
}
