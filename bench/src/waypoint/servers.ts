/** nginx, HAProxy and Node as proxies, and the servers behind all of them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LOAD_CORE, PROXY_CORE, type Program } from "./bed.ts";
import type { Credentials } from "./credentials.ts";
import { portOf, ROUTES, routePath, type Scenario, SPARE_PORTS, scenariosOf, UPSTREAM_PORTS } from "./scenarios.ts";

const PEER = fileURLToPath(new URL("../../../build/tools/weft-bench-peer", import.meta.url));
const NODE_PROXY = fileURLToPath(new URL("node-proxy.ts", import.meta.url));
/** Connections that a proxy keeps open to a server, more than there are clients. */
const KEPT = 256;

/** Ready-made answers for HTTP/1.1; an echo with gRPC's trailer for HTTP/2. */
export function upstreams(folder: string): readonly Program[] {
  const { http1, http2 } = UPSTREAM_PORTS;
  const spare = [String(SPARE_PORTS.echo), String(SPARE_PORTS.stop)];
  const trailer = ["--echo-upload", "--trailer", "grpc-status:0"];
  return [
    { argv: [PEER, "serve", String(http1), ...spare], cores: [LOAD_CORE], port: http1 },
    { argv: ["nghttpd", "--no-tls", "-d", folder, ...trailer, String(http2)], cores: [LOAD_CORE], port: http2 },
  ];
}

export function nginx(folder: string, credentials: Credentials): Program {
  const scenarios = scenariosOf("nginx");
  const path = join(folder, "nginx.conf");
  writeFileSync(
    path,
    `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log stderr crit;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path ${folder};
  proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream http1 { server 127.0.0.1:${UPSTREAM_PORTS.http1}; keepalive ${KEPT}; keepalive_requests 1000000000; }
  upstream http2 { server 127.0.0.1:${UPSTREAM_PORTS.http2}; keepalive ${KEPT}; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection "";
${scenarios.map((scenario) => nginxServer(scenario, credentials)).join("\n")}
}
`,
  );
  return { argv: ["nginx", "-c", path], cores: [PROXY_CORE], port: portOf("nginx", scenarios.at(-1) as Scenario) };
}

function nginxServer(scenario: Scenario, { certificateFile, keyFile }: Credentials): string {
  const http2 = scenario.client === "http1" ? "" : " http2";
  const tls = scenario.tls ? `ssl_certificate ${certificateFile}; ssl_certificate_key ${keyFile};` : "";
  const pass = scenario.upstream === "http2" ? "grpc_pass grpc://http2;" : "proxy_pass http://http1;";
  const prefixes =
    scenario.name === "routes_1000" ? Array.from({ length: ROUTES }, (_, index) => routePath(index)) : ["/"];
  const locations = prefixes.map((prefix) => `    location ${prefix} { ${pass} }`).join("\n");
  return `  server {
    listen 127.0.0.1:${portOf("nginx", scenario)}${http2}${scenario.tls ? " ssl" : ""}; ${tls}
${locations}
  }`;
}

export function haproxy(folder: string, credentials: Credentials): Program {
  const scenarios = scenariosOf("haproxy");
  const path = join(folder, "haproxy.cfg");
  const bundle = join(folder, "bundle.pem");
  writeFileSync(bundle, credentials.bundle);
  const map = join(folder, "routes.map");
  writeFileSync(map, Array.from({ length: ROUTES }, (_, index) => `${routePath(index)} http1\n`).join(""));
  const frontends = scenarios.map((scenario) => {
    const tls = scenario.tls ? ` ssl crt ${bundle} alpn h2,http/1.1` : "";
    const proto = scenario.client === "http1" ? "" : " proto h2";
    const backend = scenario.name === "routes_1000" ? `%[path,map_beg(${map})]` : scenario.upstream;
    return `frontend ${scenario.name}
  bind 127.0.0.1:${portOf("haproxy", scenario)}${proto}${tls}
  use_backend ${backend}`;
  });
  writeFileSync(
    path,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
backend http1
  server s 127.0.0.1:${UPSTREAM_PORTS.http1} pool-max-conn ${KEPT}
backend http2
  server s 127.0.0.1:${UPSTREAM_PORTS.http2} proto h2
${frontends.join("\n")}
`,
  );
  const port = portOf("haproxy", scenarios.at(-1) as Scenario);
  return { argv: ["haproxy", "-db", "-f", path], cores: [PROXY_CORE], port };
}

export function nodeProxy(): Program {
  const [scenario] = scenariosOf("node") as [Scenario];
  const port = portOf("node", scenario);
  const argv = [process.execPath, NODE_PROXY, String(port), String(UPSTREAM_PORTS.http1)];
  return { argv, cores: [PROXY_CORE], port };
}
