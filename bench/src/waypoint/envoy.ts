/** Envoy with a static configuration that does what our program says; what Istio turns on and our waypoint has not is off. */

import { envoyPath } from "../../../test/helpers/envoy.ts";
import { PROXY_CORE, type Program } from "./bed.ts";
import { type Credentials, ISSUER } from "./credentials.ts";
import {
  POLICIES,
  policyPath,
  portOf,
  ROUTES,
  routePath,
  type Scenario,
  scenariosOf,
  UPSTREAM_PORTS,
} from "./scenarios.ts";

export function envoy(credentials: Credentials): Program {
  const scenarios = scenariosOf("envoy");
  const config = {
    static_resources: {
      listeners: scenarios.map((scenario) => listener(scenario, credentials)),
      clusters: [cluster("http1"), cluster("http2")],
    },
  };
  const flags = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
  return {
    argv: [envoyPath(), "--config-yaml", JSON.stringify(config), ...flags],
    cores: [PROXY_CORE],
    port: portOf("envoy", scenarios.at(-1) as Scenario),
  };
}

const TYPE = "type.googleapis.com/envoy.extensions";

function socket(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function cluster(name: "http1" | "http2"): object {
  const protocol = name === "http2" ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  return {
    name,
    connect_timeout: "5s",
    // As good as none: the load keeps more requests open than the default takes.
    circuit_breakers: { thresholds: [{ max_connections: 1e6, max_pending_requests: 1e6, max_requests: 1e6 }] },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(UPSTREAM_PORTS[name]) } }] }],
    },
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: protocol,
      },
    },
  };
}

function listener(scenario: Scenario, credentials: Credentials): object {
  const manager = {
    "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: scenario.name,
    codec_type: "AUTO",
    normalize_path: true,
    route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: routes(scenario) }] },
    http_filters: [
      ...(scenario.name === "jwt" ? [jwt(credentials)] : []),
      ...(scenario.name === "policies_10" ? [rbac()] : []),
      { name: "router", typed_config: { "@type": `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
  return {
    name: scenario.name,
    address: socket(portOf("envoy", scenario)),
    filter_chains: [
      {
        ...(scenario.tls ? { transport_socket: tls(credentials) } : {}),
        filters: [{ name: "http", typed_config: manager }],
      },
    ],
  };
}

function routes({ name, upstream }: Scenario): object[] {
  const prefixes = name === "routes_1000" ? Array.from({ length: ROUTES }, (_, index) => routePath(index)) : ["/"];
  return prefixes.map((prefix) => ({ match: { prefix }, route: { cluster: upstream, timeout: "0s" } }));
}

function tls({ certificateFile, keyFile }: Credentials): object {
  const certificate = { certificate_chain: { filename: certificateFile }, private_key: { filename: keyFile } };
  return {
    name: "tls",
    typed_config: {
      "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
      common_tls_context: {
        alpn_protocols: ["h2", "http/1.1"],
        tls_certificates: [certificate],
        tls_params: { tls_maximum_protocol_version: "TLSv1_3" },
      },
    },
  };
}

function jwt({ jwks }: Credentials): object {
  return {
    name: "jwt",
    typed_config: {
      "@type": `${TYPE}.filters.http.jwt_authn.v3.JwtAuthentication`,
      providers: {
        bench: { issuer: ISSUER, forward: true, local_jwks: { inline_string: jwks }, jwt_cache_config: {} },
      },
      rules: [{ match: { prefix: "/" }, requires: { provider_name: "bench" } }],
    },
  };
}

function rbac(): object {
  const policies = Array.from({ length: POLICIES }, (_, index) => {
    const path = { url_path: { path: { prefix: policyPath(index) } } };
    const method = { header: { name: ":method", string_match: { exact: "GET" } } };
    return [
      `policy-${index}`,
      { permissions: [{ and_rules: { rules: [path, method] } }], principals: [{ any: true }] },
    ];
  });
  return {
    name: "rbac",
    typed_config: {
      "@type": `${TYPE}.filters.http.rbac.v3.RBAC`,
      rules: { action: "ALLOW", policies: Object.fromEntries(policies) },
    },
  };
}
