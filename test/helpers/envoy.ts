/** Envoy as an HBONE peer: configurations written from Envoy's documentation, with nothing of ours in them. */
import type { ChildProcess } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Svid } from "./pki.ts";
import type { BedPod, PodBed } from "./pod-bed.ts";

export interface EnvoyTls {
  readonly svid: Svid;
  /** Trust anchor of the other side, PEM. */
  readonly root: string;
  /** URI SANs of which the other side must have one that starts so. */
  readonly peerPrefix: string;
}

/** Plain TCP in on `port`, CONNECT to `authority` out to the agent or waypoint at `agentIp`, port 15008 if nothing else is said. */
export function hboneClient(options: {
  readonly port: number;
  readonly authority: string;
  readonly agentIp: string;
  readonly agentPort?: number;
  readonly tls: EnvoyTls;
}): object {
  return {
    static_resources: {
      listeners: [
        {
          name: "plain",
          address: socketAddress("0.0.0.0", options.port),
          filter_chains: [
            {
              filters: [
                filter("envoy.filters.network.tcp_proxy", "tcp_proxy.v3.TcpProxy", {
                  stat_prefix: "tunnel",
                  cluster: "agent",
                  tunneling_config: {
                    hostname: options.authority,
                    headers_to_add: [header("baggage", "k8s.namespace.name=envoy,service.name=client")],
                  },
                }),
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: "agent",
          connect_timeout: "5s",
          ...endpoint("agent", options.agentIp, options.agentPort ?? 15008),
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
              "@type": `${TYPE}extensions.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          transport_socket: {
            name: "envoy.transport_sockets.tls",
            typed_config: {
              "@type": `${TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
              common_tls_context: tlsContext(options.tls),
            },
          },
        },
      ],
    },
  };
}

/** TLS on 15008, CONNECT ends here, its bytes go to `127.0.0.1:appPort`. */
export function hboneServer(options: { readonly appPort: number; readonly tls: EnvoyTls }): object {
  return {
    static_resources: {
      listeners: [
        {
          name: "hbone",
          address: socketAddress("0.0.0.0", 15008),
          filter_chains: [
            {
              transport_socket: {
                name: "envoy.transport_sockets.tls",
                typed_config: {
                  "@type": `${TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
                  require_client_certificate: true,
                  common_tls_context: tlsContext(options.tls),
                },
              },
              filters: [
                filter(
                  "envoy.filters.network.http_connection_manager",
                  "http_connection_manager.v3.HttpConnectionManager",
                  {
                    stat_prefix: "hbone",
                    codec_type: "HTTP2",
                    // As a waypoint has it: CONNECT allowed, at most 100 streams.
                    http2_protocol_options: { allow_connect: true, max_concurrent_streams: 100 },
                    upgrade_configs: [{ upgrade_type: "CONNECT" }],
                    access_log: [
                      stdoutLog(
                        "%REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE% [%REQ(BAGGAGE)%] [%REQ(FORWARDED)%] [%REQ(TRACEPARENT)%] %DOWNSTREAM_PEER_URI_SAN%\n",
                      ),
                    ],
                    http_filters: [filter("envoy.filters.http.router", "../http/router.v3.Router", {})],
                    route_config: {
                      virtual_hosts: [
                        {
                          name: "all",
                          domains: ["*"],
                          routes: [
                            {
                              match: { connect_matcher: {} },
                              route: {
                                cluster: "app",
                                timeout: "0s",
                                upgrade_configs: [{ upgrade_type: "CONNECT", connect_config: {} }],
                              },
                            },
                          ],
                        },
                      ],
                    },
                  },
                ),
              ],
            },
          ],
        },
      ],
      clusters: [{ name: "app", connect_timeout: "5s", ...endpoint("app", "127.0.0.1", options.appPort) }],
    },
  };
}

/** Starts Envoy in the pod and waits for its listener. */
export async function startEnvoy(bed: PodBed, pod: BedPod, config: object, port: number): Promise<ChildProcess> {
  const child = bed.spawn(pod, envoyPath(), [
    "--config-yaml",
    JSON.stringify(config),
    "--disable-hot-restart",
    "--concurrency",
    "1",
    "--log-level",
    "warning",
  ]);
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const died = new Promise<never>((_, reject) => {
    child.once("exit", (code) => reject(new Error(`envoy ended with ${code}:\n${log}`)));
  });
  died.catch(() => {});
  await Promise.race([bed.listening(pod, port), died]);
  return child;
}

export function envoyPath(): string {
  const lib = fileURLToPath(new URL("../../build/envoy/lib/", import.meta.url));
  try {
    const python = readdirSync(lib).find((name) => name.startsWith("python"));
    return `${lib}${python}/site-packages/envoy/_bin/envoy`;
  } catch (cause) {
    throw new Error(`no Envoy below ${lib}; run "make build/stamp/envoy"`, { cause });
  }
}

const TYPE = "type.googleapis.com/envoy.";

function filter(name: string, type: string, config: object): object {
  const message = type.startsWith("../http/")
    ? `${TYPE}extensions.filters.http.${type.slice("../http/".length)}`
    : `${TYPE}extensions.filters.network.${type}`;
  return { name, typed_config: { "@type": message, ...config } };
}

function socketAddress(address: string, port: number): object {
  return { socket_address: { address, port_value: port } };
}

function endpoint(cluster: string, address: string, port: number): object {
  const host = { endpoint: { address: socketAddress(address, port) } };
  return { load_assignment: { cluster_name: cluster, endpoints: [{ lb_endpoints: [host] }] } };
}

function header(key: string, value: string): object {
  return { header: { key, value } };
}

function stdoutLog(format: string): object {
  return {
    name: "envoy.access_loggers.stdout",
    typed_config: {
      "@type": `${TYPE}extensions.access_loggers.stream.v3.StdoutAccessLog`,
      log_format: { text_format_source: { inline_string: format } },
    },
  };
}

function tlsContext(tls: EnvoyTls): object {
  return {
    alpn_protocols: ["h2"],
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificates: [
      { certificate_chain: { inline_string: tls.svid.chain }, private_key: { inline_string: tls.svid.key } },
    ],
    validation_context: {
      trusted_ca: { inline_string: tls.root },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: { prefix: tls.peerPrefix } }],
    },
  };
}
