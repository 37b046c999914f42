/**
 * Collectors of spans: OTLP by gRPC on argv[2], by HTTP on argv[3], Zipkin's JSON on argv[4], all three again under TLS by
 * HTTP on argv[5] with the certificate and key of the files argv[6] and argv[7]. Prints each span as a line of JSON.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerUnaryCall, type ServiceDefinition } from "@grpc/grpc-js";
import {
  type ExportTraceServiceRequest,
  ExportTraceServiceRequestSchema,
  ExportTraceServiceResponseSchema,
} from "#proto/otlp_pb.ts";

/** A span as it came, whatever by. */
export interface CollectedSpan {
  readonly by: "otlp-grpc" | "otlp-http" | "zipkin" | "otlp-https" | "zipkin-https";
  readonly service: string;
  readonly traceId: string;
  readonly id: string;
  readonly parentId: string;
  readonly name: string;
  readonly kind: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the request that brought it. */
  readonly headers: Readonly<Record<string, unknown>>;
}

const [grpcPort, httpPort, zipkinPort, tlsPort, certificate, key] = process.argv.slice(2);

function tell(span: CollectedSpan): void {
  process.stdout.write(`${JSON.stringify(span)}\n`);
}

function tellOtlp(
  by: CollectedSpan["by"],
  request: ExportTraceServiceRequest,
  headers: CollectedSpan["headers"],
): void {
  for (const { resource, scopeSpans } of request.resourceSpans) {
    const service = String(resource?.attributes.find((each) => each.key === "service.name")?.value?.value.value);
    for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
      tell({
        by,
        service,
        traceId: Buffer.from(span.traceId).toString("hex"),
        id: Buffer.from(span.spanId).toString("hex"),
        parentId: Buffer.from(span.parentSpanId).toString("hex"),
        name: span.name,
        kind: String(span.kind),
        tags: Object.fromEntries(span.attributes.map((each) => [each.key, String(each.value?.value.value)])),
        headers,
      });
    }
  }
}

interface ZipkinSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name: string;
  readonly kind: string;
  readonly localEndpoint: { readonly serviceName: string };
  readonly tags: Record<string, string>;
}

function take(secure: "" | "s") {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      if (request.url === "/v1/traces") {
        const by = secure === "s" ? "otlp-https" : "otlp-http";
        tellOtlp(by, fromBinary(ExportTraceServiceRequestSchema, body), request.headers);
      } else {
        for (const span of JSON.parse(String(body)) as ZipkinSpan[]) {
          const { localEndpoint, parentId = "", ...rest } = span;
          const by = secure === "s" ? "zipkin-https" : "zipkin";
          tell({ ...rest, by, parentId, service: localEndpoint.serviceName, headers: request.headers });
        }
      }
      response.writeHead(202).end();
    });
  };
}

const service: ServiceDefinition = {
  Export: {
    path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Uint8Array) => Buffer.from(value),
    requestDeserialize: (bytes: Buffer) => fromBinary(ExportTraceServiceRequestSchema, bytes),
    responseSerialize: () =>
      Buffer.from(toBinary(ExportTraceServiceResponseSchema, create(ExportTraceServiceResponseSchema))),
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};
const server = new Server();
server.addService(service, {
  Export: (call: ServerUnaryCall<ExportTraceServiceRequest, object>, done: (error: null, value: object) => void) => {
    tellOtlp("otlp-grpc", call.request, { ...call.metadata.getMap(), ":authority": call.getHost() });
    done(null, {});
  },
});
server.bindAsync(`[::]:${grpcPort}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
createServer(take("")).listen(Number(httpPort), "::");
createServer(take("")).listen(Number(zipkinPort), "::");
createTlsServer({ cert: readFileSync(certificate ?? ""), key: readFileSync(key ?? "") }, take("s")).listen(
  Number(tlsPort),
  "::",
);
