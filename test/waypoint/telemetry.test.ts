/** What a waypoint says of traffic: access logs, spans and metrics, as Telemetry resources ask for them. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { appPath } from "../helpers/mesh-bed.ts";
import type { CollectedSpan } from "./programs/collector.ts";
import { program, WaypointBed } from "./waypoint-bed.ts";

const FQDN = "web.shop.svc.cluster.local";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const W3C = `00-${TRACE}-${SPAN}-01`;
const COLLECTOR = "collector.shop.svc.cluster.local";

const MESH = `
extensionProviders:
- {name: otel, opentelemetry: {service: shop/${COLLECTOR}, port: 4317}}
- {name: otel-http, opentelemetry: {service: ${COLLECTOR}, port: 4318, http: {path: /v1/traces, timeout: 5s, headers: [{name: x-tenant, value: blue}]}}}
- {name: secure, opentelemetry: {service: ${COLLECTOR}, port: 4443, http: {path: /v1/traces}}}
- {name: walking, skywalking: {service: ${COLLECTOR}, port: 11800}}
- {name: zipkin, zipkin: {service: ${COLLECTOR}, port: 9411}}
- name: json
  envoyFileAccessLog:
    path: /dev/stdout
    logFormat: {labels: {path: "%REQ(:PATH)%", code: "%RESPONSE_CODE%", who: "%DOWNSTREAM_PEER_URI_SAN%", deep: {served: "%RESP(x-served)%"}}}
- {name: text, envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: "told %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS%"}}}
`;

/** Upper bounds of histograms, as they are written. */
const BUCKETS =
  "0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf".split(" ");

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const OF_WEB = 'targetRefs: [{kind: Service, group: "", name: web}]';

function telemetry(name: string, spec: string): string {
  return `apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n`;
}

describe("telemetry of a waypoint", () => {
  let bed: WaypointBed;

  beforeAll(async () => {
    bed = await WaypointBed.start("t-telemetry");
    await bed.meshConfig(MESH);
    const make = `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=${COLLECTOR} -addext subjectAltName=DNS:${COLLECTOR} -days 2 -keyout /tmp/key.pem -out /tmp/cert.pem 2>/dev/null`;
    const run = `exec node ${program("collector")} 4317 4318 9411 4443 /tmp/cert.pem /tmp/key.pem`;
    await bed.app("collector", ["sh", "-c", `${make}; ${run}`], {
      ports: { "grpc-otlp": 4317, "http-otlp": 4318, "http-zipkin": 9411, "https-otlp": 4443 },
    });
    await bed.ready("collector");
  });
  afterAll(() => bed?.stop());

  /** Asks until a span of such a request has arrived. */
  async function spanOf(
    what: string,
    by: CollectedSpan["by"],
    fits: (span: CollectedSpan) => boolean,
    path: string,
    ...curl: readonly string[]
  ): Promise<CollectedSpan> {
    return eventually(
      what,
      async () => {
        await bed.ask(path, ...curl);
        const lines = await bed.lines("collector");
        const spans = lines.map((line) => JSON.parse(line) as CollectedSpan);
        return spans.find((span) => span.by === by && span.tags["http.url"]?.endsWith(path) && fits(span));
      },
      30_000,
    );
  }
  const always = () => true;

  async function series(name: string): Promise<Series[]> {
    const lines = (await bed.scrape()).split("\n").filter((line) => line.startsWith(`${name}{`));
    return lines.map((line) => {
      const labels = [...line.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]);
      return { labels: Object.fromEntries(labels), value: Number(line.slice(line.lastIndexOf(" "))) };
    });
  }
  /** As soon as there are such. */
  function seriesOf(what: string, name: string, fits: (one: Series) => boolean): Promise<Series[]> {
    return eventually(
      what,
      async () => {
        const found = (await series(name)).filter(fits);
        return found.length > 0 ? found : undefined;
      },
      30_000,
    );
  }

  it("writes the 22 fields once a Telemetry asks for it, as text", async () => {
    await bed.apply(telemetry("logs", "{accessLogging: [{providers: [{name: envoy}]}]}"));
    await eventually(
      "the access log",
      async () => {
        await bed.ask("/logged", "-A", "asker/1");
        return (await bed.lines("waypoint")).some((line) => line.includes('"GET /logged HTTP/1.1" 200 '));
      },
      30_000,
    );
    const line = await bed.line("its line", "waypoint", (each) => each.includes('"GET /logged HTTP/1.1" 200 '));
    const fields = line.match(/\[[^\]]*\]|"[^"]*"|[^\s]+/g) ?? [];
    expect(fields).toHaveLength(22);
    expect(fields[12]).toBe('"asker/1"');
    expect(fields[14]).toBe('"web:8080"');
    expect(fields[16]).toBe(`inbound-vip|8080|http|${FQDN}`);
    expect(fields[21]).toBe("default");
  });

  it("writes only what the filter lets through, in the provider's format", async () => {
    await bed.apply(
      telemetry(
        "logs",
        `{accessLogging: [{providers: [{name: json}, {name: text}], filter: {expression: "response.code >= 400"}}]}`,
      ),
    );
    const filtered = (name: string) => (line: string) => line.includes(`/status/418?${name}`);
    await eventually(
      "the filtered log",
      async () => {
        await bed.ask("/status/418?a");
        return (await bed.lines("waypoint")).some((line) => line.startsWith("told ") && filtered("a")(line));
      },
      30_000,
    );
    await bed.ask("/silent");
    await bed.ask("/status/418?b");
    expect(await bed.line("text", "waypoint", (line) => line.startsWith("told ") && filtered("b")(line))).toBe(
      "told GET /status/418?b 418 -",
    );
    const json = await bed.line("JSON", "waypoint", (line) => line.startsWith("{") && filtered("b")(line));
    expect(JSON.parse(json)).toEqual({
      path: "/status/418?b",
      code: 418,
      who: "spiffe://cluster.local/ns/shop/sa/client",
      deep: { served: "mirror" },
    });
    expect((await bed.lines("waypoint")).filter((line) => line.includes("/silent"))).toEqual([]);
  });

  it("sends spans by OTLP over gRPC, as the client's trace wants them", async () => {
    await bed.apply(
      telemetry(
        "spans",
        `
  ${OF_WEB}
  tracing:
  - providers: [{name: otel}]
    randomSamplingPercentage: 0
    customTags:
      lit: {literal: {value: here}}
      who: {header: {name: x-who, defaultValue: nobody}}
      env: {environment: {name: POD_NAMESPACE, defaultValue: none}}`,
      ),
    );
    const span = await spanOf("a span", "otlp-grpc", always, "/w3c", "-H", `traceparent: ${W3C}`, "-H", "x-who: me");
    expect(span).toMatchObject({ traceId: TRACE, parentId: SPAN, service: "waypoint.shop", kind: "2" });
    expect(span.name).toBe(`${FQDN}:8080/*`);
    expect(span.tags).toMatchObject({
      component: "proxy",
      "http.method": "GET",
      "http.status_code": "200",
      "http.protocol": "HTTP/1.1",
      response_flags: "-",
      upstream_cluster: `inbound-vip|8080|http|${FQDN}`,
      "istio.source_workload": "client",
      "istio.destination_workload": "web",
      "istio.destination_canonical_service": "web",
      lit: "here",
      who: "me",
      env: "shop",
    });
    const seen = await bed.mirrored("/next", "-H", `traceparent: ${W3C}`, "-H", "tracestate: a=b");
    const [, trace, id, flags] = (seen.headers.traceparent ?? "").split("-");
    expect([trace, flags]).toEqual([TRACE, "01"]);
    expect(id).not.toBe(SPAN);
    expect(seen.headers.tracestate).toBe("a=b");
    const next = await spanOf("its span", "otlp-grpc", (each) => each.id === id, "/next");
    expect(next.tags.who).toBe("nobody");
    // Sampling is 0 %: who brings no decision is not sampled, and is told so.
    const fresh = await bed.mirrored("/fresh");
    expect(fresh.headers.traceparent).toMatch(/-00$/);
    expect(fresh.headers["x-request-id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
  });

  it("takes up B3 in one header and in several, and goes on with it", async () => {
    const single = await bed.mirrored("/b3", "-H", `b3: ${TRACE}-${SPAN}-1`);
    expect(single.headers.b3).toMatch(new RegExp(`^${TRACE}-[0-9a-f]{16}-1-${SPAN}$`));
    expect(single.headers.traceparent).toBeUndefined();
    const multi = await bed.mirrored(
      "/b3",
      "-H",
      `x-b3-traceid: ${TRACE}`,
      "-H",
      `x-b3-spanid: ${SPAN}`,
      "-H",
      "x-b3-sampled: 1",
    );
    expect(multi.headers).toMatchObject({ "x-b3-traceid": TRACE, "x-b3-parentspanid": SPAN, "x-b3-sampled": "1" });
    const ids = (await bed.lines("collector")).map((line) => JSON.parse(line) as CollectedSpan);
    expect(ids.length).toBeGreaterThan(0);
    const id = multi.headers["x-b3-spanid"];
    const span = await spanOf("its span", "otlp-grpc", (each) => each.id === id, "/b3");
    expect(span).toMatchObject({ traceId: TRACE, parentId: SPAN });
  });

  it("sends spans by OTLP over HTTP, and samples by x-request-id", async () => {
    await bed.apply(
      telemetry("spans", `{${OF_WEB}, tracing: [{providers: [{name: otel-http}], randomSamplingPercentage: 100}]}`),
    );
    const span = await spanOf("a span", "otlp-http", always, "/http");
    expect(span.headers["x-tenant"]).toBe("blue");
    expect(span.parentId).toBe("");
    expect(span.tags["guid:x-request-id"]).toMatch(/^.{14}9/);
    const forced = randomUUID();
    const kept = await bed.mirrored("/id", "-H", `x-request-id: ${forced}`);
    expect(kept.headers["x-request-id"]).toBe(`${forced.slice(0, 14)}9${forced.slice(15)}`);
    const own = await bed.mirrored("/id", "-H", "x-request-id: mine");
    expect(own.headers["x-request-id"]).toBe("mine");
  });

  it("sends spans to Zipkin, and writes B3", async () => {
    await bed.apply(
      telemetry("spans", `{${OF_WEB}, tracing: [{providers: [{name: zipkin}], randomSamplingPercentage: 100}]}`),
    );
    const span = await spanOf("a span", "zipkin", always, "/zipkin");
    expect(span).toMatchObject({ kind: "SERVER", service: "waypoint.shop", name: `${FQDN}:8080/*` });
    expect(span.traceId).toMatch(/^[0-9a-f]{32}$/);
    const seen = await bed.mirrored("/zipkin");
    expect(seen.headers["x-b3-sampled"]).toBe("1");
    expect(seen.headers["x-b3-traceid"]).toMatch(/^[0-9a-f]{32}$/);
    expect(seen.headers.traceparent).toBeUndefined();
  });

  it("reaches collectors as it reaches every service: by tunnel where only that is let in, and by TLS if a rule says so", async () => {
    await bed.apply(`apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: collector, namespace: shop}
spec:
  host: ${COLLECTOR}
  trafficPolicy:
    portLevelSettings: [{port: {number: 4443}, tls: {mode: SIMPLE, insecureSkipVerify: true}}]
`);
    // Nobody gets in without a tunnel any more.
    await bed.app("outsider", ["sleep", "infinity"], { ports: {}, namespace: "default" });
    await bed.kubectl("rollout", "status", "deployment/outsider", "--timeout=60s");
    const outside = ["exec", "deployment/outsider", "--", "curl", "-s", "-m", "5", `http://${COLLECTOR}:4318/`];
    await eventually("the refusal", async () => (await bed.try(...outside)).code !== 0, 30_000);
    const zipkin = await spanOf("a span", "zipkin", always, "/strict");
    expect(zipkin.headers.host).toBe(`${COLLECTOR}:9411`);
    await bed.apply(
      telemetry("spans", `{${OF_WEB}, tracing: [{providers: [{name: secure}], randomSamplingPercentage: 100}]}`),
    );
    await spanOf("a span", "otlp-https", always, "/secure");
  });

  it("says in the status of a Telemetry what its providers cannot do", async () => {
    const said = async () => {
      const path = 'jsonpath={.status.conditions[?(@.type=="Accepted")].message}';
      return bed.kubectl("get", "telemetry", "-n", "shop", "spans", "-o", path);
    };
    for (const [provider, message] of [
      ["nobody", 'meshConfig.extensionProviders has no "nobody": its spans are lost'],
      ["walking", 'provider "walking" is of a kind that waypoints do not have: skywalking'],
    ]) {
      await bed.apply(telemetry("spans", `{${OF_WEB}, tracing: [{providers: [{name: ${provider}}]}]}`));
      await eventually("the condition", async () => (await said()) === message, 30_000);
    }
  });

  const COMMON = {
    reporter: "waypoint",
    source_workload: "client",
    source_canonical_service: "client",
    source_canonical_revision: "v7",
    source_workload_namespace: "shop",
    source_principal: "spiffe://cluster.local/ns/shop/sa/client",
    source_app: "client",
    source_version: "v7",
    source_cluster: "Kubernetes",
    destination_workload: "web",
    destination_workload_namespace: "shop",
    destination_principal: "spiffe://cluster.local/ns/shop/sa/web",
    destination_app: "web",
    destination_version: "v1",
    destination_service: FQDN,
    destination_canonical_service: "web",
    destination_canonical_revision: "v1",
    destination_service_name: "web",
    destination_service_namespace: "shop",
    destination_cluster: "Kubernetes",
    response_flags: "-",
    connection_security_policy: "mutual_tls",
  };

  it("counts HTTP requests in Istio's metrics, with all of their labels and buckets", async () => {
    await bed.ask("/status/204", "-d", "twelve bytes");
    const labels = { ...COMMON, request_protocol: "http", response_code: "204", grpc_response_status: "" };
    const series = await seriesOf("the request", "istio_requests_total", (one) => one.labels.response_code === "204");
    expect(series).toEqual([{ labels, value: 1 }]);
    for (const name of ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"]) {
      const of204 = (one: Series) => one.labels.response_code === "204";
      const buckets = await seriesOf(name, `${name}_bucket`, of204);
      expect(buckets.map((one) => one.labels.le)).toEqual(BUCKETS);
      for (const { labels: all } of buckets) expect({ ...all, le: undefined }).toEqual({ ...labels, le: undefined });
      expect(buckets.at(-1)?.value).toBe(1);
      expect(await seriesOf(name, `${name}_count`, of204)).toEqual([{ labels, value: 1 }]);
    }
    const bytes = await seriesOf("its bytes", "istio_request_bytes_sum", (one) => one.labels.response_code === "204");
    expect(bytes[0]?.value).toBe(12);
  });

  it("counts gRPC's messages and statuses", async () => {
    expect(await bed.run("node", appPath("grpc-client"), "web:9000", "3")).toBe("3/3\n");
    const isGrpc = (one: Series) => one.labels.request_protocol === "grpc";
    const labels = { ...COMMON, request_protocol: "grpc", response_code: "200", grpc_response_status: "0" };
    expect(await seriesOf("the call", "istio_requests_total", isGrpc)).toEqual([{ labels, value: 1 }]);
    expect(await seriesOf("messages", "istio_request_messages_total", isGrpc)).toEqual([{ labels, value: 3 }]);
    expect(await seriesOf("messages", "istio_response_messages_total", isGrpc)).toEqual([{ labels, value: 3 }]);
  });

  it("counts TCP connections and their bytes", async () => {
    expect(await bed.run("sh", "-c", "head -c 5000 /dev/zero | node $0 web 9001", appPath("talker"))).toContain(
      "5000 bytes",
    );
    const labels = { ...COMMON, request_protocol: "tcp" };
    for (const [name, value] of Object.entries({
      istio_tcp_connections_opened_total: 1,
      istio_tcp_connections_closed_total: 1,
      istio_tcp_sent_bytes_total: 5000,
      istio_tcp_received_bytes_total: 5000,
    })) {
      expect(await seriesOf(name, name, () => true)).toEqual([{ labels, value }]);
    }
  });

  it("adds, removes and turns off what a Telemetry says", async () => {
    await bed.apply(
      telemetry(
        "metrics",
        `
  ${OF_WEB}
  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        asked_host: {value: request.host}
        code_class: {value: "response.code >= 500 ? '5xx' : 'fine'"}
        source_version: {operation: REMOVE}
    - match: {metric: REQUEST_SIZE}
      disabled: true
    - match: {metric: REQUEST_COUNT, mode: CLIENT}
      disabled: true`,
      ),
    );
    await bed.kubectl("delete", "telemetry", "-n", "shop", "spans");
    const is503 = (one: Series) => one.labels.response_code === "503" && one.labels.asked_host !== undefined;
    const found = await eventually(
      "the tags",
      async () => {
        await bed.ask("/status/503");
        return (await series("istio_requests_total")).find(is503);
      },
      30_000,
    );
    const { source_version: _, ...rest } = COMMON;
    const labels = { ...rest, request_protocol: "http", response_code: "503", grpc_response_status: "" };
    expect(found.labels).toEqual({ ...labels, asked_host: "web:8080", code_class: "5xx" });
    const codesOf = async (name: string) => (await series(name)).map((one) => one.labels.response_code);
    expect(await codesOf("istio_request_bytes_count")).not.toContain("503");
    expect(await codesOf("istio_response_bytes_count")).toContain("503");
  });
});
