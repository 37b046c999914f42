/**
 * A rate limit service by gRPC on argv[2]. It prints what it is asked, and goes by the values of descriptors: "/over"
 * is too much, "/slow" is never answered, everything else is fine.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerUnaryCall, type ServiceDefinition } from "@grpc/grpc-js";
import {
  type RateLimitRequest,
  RateLimitRequestSchema,
  type RateLimitResponse,
  RateLimitResponse_Code,
  RateLimitResponseSchema,
} from "#proto/ratelimit_pb.ts";

const service: ServiceDefinition = {
  ShouldRateLimit: {
    path: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Uint8Array) => Buffer.from(value),
    requestDeserialize: (bytes: Buffer) => fromBinary(RateLimitRequestSchema, bytes),
    responseSerialize: (value: RateLimitResponse) => Buffer.from(toBinary(RateLimitResponseSchema, value)),
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};
const server = new Server();
server.addService(service, {
  ShouldRateLimit: (
    call: ServerUnaryCall<RateLimitRequest, RateLimitResponse>,
    done: (error: null, value: RateLimitResponse) => void,
  ) => {
    const { domain, descriptors } = call.request;
    const asked = descriptors.map(({ entries }) => entries.map(({ key, value }) => `${key}=${value}`).join(" "));
    process.stdout.write(`${JSON.stringify({ domain, asked, authority: call.getHost() })}\n`);
    if (asked.some((each) => each.includes("/slow"))) return;
    const over = asked.some((each) => each.includes("/over"));
    const header = (key: string, value: string) => ({ key, value });
    done(
      null,
      create(RateLimitResponseSchema, {
        overallCode: over ? RateLimitResponse_Code.OVER_LIMIT : RateLimitResponse_Code.OK,
        responseHeadersToAdd: [header("x-limit-left", over ? "0" : "7")],
        ...(over ? { rawBody: Buffer.from("slow down") } : { requestHeadersToAdd: [header("x-limit-by", "limiter")] }),
      }),
    );
  },
});
server.bindAsync(`[::]:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
