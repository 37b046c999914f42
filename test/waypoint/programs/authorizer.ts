/**
 * An external authorizer: Envoy's service by gRPC on argv[2], plain HTTP on argv[3]. It prints what it is shown, and goes
 * by the end of the path: "/deny" is refused, "/slow" never answered, "/broken" answered with an error, all else allowed.
 */
import { createServer } from "node:http";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerUnaryCall, type ServiceDefinition, status } from "@grpc/grpc-js";
import { type CheckRequest, CheckRequestSchema, type CheckResponse, CheckResponseSchema } from "#proto/ext_authz_pb.ts";

/** What an authorizer was shown. */
export interface Shown {
  readonly by: "grpc" | "http";
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly source: string;
}

function tell(shown: Shown): void {
  process.stdout.write(`${JSON.stringify(shown)}\n`);
}

const service: ServiceDefinition = {
  Check: {
    path: "/envoy.service.auth.v3.Authorization/Check",
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Uint8Array) => Buffer.from(value),
    requestDeserialize: (bytes: Buffer) => fromBinary(CheckRequestSchema, bytes),
    responseSerialize: (value: CheckResponse) => Buffer.from(toBinary(CheckResponseSchema, value)),
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

function header(key: string, value: string) {
  return { header: { key, value } };
}

function answerTo(path: string): CheckResponse {
  if (!path.endsWith("/deny")) {
    const value = {
      headers: [header("x-user", "me")],
      headersToRemove: ["x-secret"],
      responseHeadersToAdd: [header("x-decided", "yes")],
    };
    return create(CheckResponseSchema, { status: { code: status.OK }, httpResponse: { case: "okResponse", value } });
  }
  const value = { status: { code: 418 }, headers: [header("x-why", "tea")], body: "no coffee" };
  return create(CheckResponseSchema, {
    status: { code: status.PERMISSION_DENIED },
    httpResponse: { case: "deniedResponse", value },
  });
}

const server = new Server();
server.addService(service, {
  Check: (
    call: ServerUnaryCall<CheckRequest, CheckResponse>,
    done: (error: { code: number } | null, value?: CheckResponse) => void,
  ) => {
    const { source, request } = call.request.attributes ?? {};
    const { method = "", path = "", headers = {}, body = "" } = request?.http ?? {};
    tell({ by: "grpc", method, path, headers, body, source: source?.principal ?? "" });
    if (path.endsWith("/slow")) return;
    if (path.endsWith("/broken")) done({ code: status.INTERNAL });
    else done(null, answerTo(path));
  },
});
server.bindAsync(`[::]:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});

createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const { method = "", url: path = "" } = request;
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    tell({ by: "http", method, path, headers, body: Buffer.concat(chunks).toString(), source: "" });
    if (path.endsWith("/slow")) return;
    if (path.endsWith("/broken")) response.writeHead(500).end("broken");
    else if (path.endsWith("/deny")) response.writeHead(401, { "x-why": "who", "x-hidden": "1" }).end("who are you");
    else response.writeHead(200, { "x-auth-user": "me", "x-allowed": "yes", "x-hidden": "1" }).end();
  });
}).listen(Number(process.argv[3]), "::");
