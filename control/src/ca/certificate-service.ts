/** IstioCertificateService: a signed certificate for the identity of a workload on the caller's node. */
import { create, toBinary } from "@bufbuild/protobuf";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import type { Logger } from "pino";
import { formatSpiffeId } from "#lib/spiffe.ts";
import {
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from "#proto/ca_pb.ts";
import { authenticateCall, type Refusal } from "../auth/authenticate-call.ts";
import { type CallerLimits, LimitError } from "../auth/caller-limits.ts";
import { AuthenticationError, type TokenAuthenticator } from "../auth/token-authenticator.ts";
import type { GrpcCall } from "../grpc/call.ts";
import { GRPC_STATUS, GrpcError } from "../grpc/status.ts";
import type { Authority } from "./authority.ts";
import { crypto } from "./keys.ts";
import { AuthorizationError, type NodeAuthorizer } from "./node-authorizer.ts";

export interface CertificateMetrics {
  requested(): void;
  issued(): void;
  /** Why not; a small fixed set. */
  refused(reason: "authentication" | "authorization" | "csr" | "ttl" | "limit" | "internal"): void;
}

export interface CertificateServiceOptions {
  readonly authenticator: TokenAuthenticator;
  readonly authorizer: NodeAuthorizer;
  readonly limits: CallerLimits;
  readonly authority: () => Authority;
  readonly defaultTtlMs: number;
  readonly maxTtlMs: number;
  readonly log: Logger;
  readonly metrics: CertificateMetrics;
}

/** A signing request is about 500 bytes; RSA of 8192 bits makes it 3 KB. */
const MAX_CSR_BYTES = 16 * 1024;
const MIN_RSA_BITS = 2048;

/** The request itself is wrong; the client is told how. */
class RequestError extends Error {
  readonly reason: "csr" | "ttl";
  constructor(reason: "csr" | "ttl", message: string) {
    super(message);
    this.reason = reason;
  }
}

export class CertificateService {
  readonly #options: CertificateServiceOptions;

  constructor(options: CertificateServiceOptions) {
    this.#options = options;
  }

  /** Takes one call. */
  serve(call: GrpcCall): void {
    this.#options.metrics.requested();
    this.#create(call).then(
      (response) => {
        call.write({ parts: [toBinary(IstioCertificateResponseSchema, response)], deflated: false });
        call.end(GRPC_STATUS.OK);
      },
      (error: unknown) => {
        const { code, details } = this.#refusal(error, call.peer);
        call.end(code, details);
      },
    );
  }

  async #create(call: GrpcCall): Promise<IstioCertificateResponse> {
    const { authenticator, authorizer, limits, log, metrics } = this.#options;
    const caller = await authenticateCall(authenticator, call);
    const request = await call.readOne(IstioCertificateRequestSchema);
    limits.takeCertificate(caller);
    const impersonated = request.metadata?.ImpersonatedIdentity;
    if (impersonated !== undefined && typeof impersonated !== "string") {
      throw new AuthorizationError("ImpersonatedIdentity is no string");
    }
    const identity = formatSpiffeId(await authorizer.authorize(caller, impersonated));
    const ttlMs = this.#ttlMs(request.validityDuration);
    const publicKey = await publicKeyOf(request.csr);
    // Read last: during a rotation the signer may change while we wait.
    const authority = this.#options.authority();
    const { pem, notAfter } = await authority.issue({
      publicKey,
      // From the identity that was authorized; the request's own names do not count.
      subjectAltNames: [{ type: "url", value: identity }],
      ttlMs,
    });
    metrics.issued();
    log.debug({ identity, caller: `${caller.namespace}/${caller.serviceAccount}`, notAfter }, "certificate issued");
    return create(IstioCertificateResponseSchema, { certChain: [pem, ...authority.intermediates, authority.roots] });
  }

  #ttlMs(seconds: bigint): number {
    const { defaultTtlMs, maxTtlMs } = this.#options;
    if (seconds <= 0n) return defaultTtlMs;
    const ms = Number(seconds) * 1000;
    if (ms > maxTtlMs) throw new RequestError("ttl", `a certificate lives at most ${maxTtlMs / 1000} s`);
    return ms;
  }

  /** What the caller is told; logged and counted. */
  #refusal(error: unknown, peer: string): Refusal {
    const { log, metrics } = this.#options;
    if (error instanceof LimitError) {
      metrics.refused("limit");
      log.warn({ peer, reason: error.message }, "certificate refused");
      return { code: GRPC_STATUS.RESOURCE_EXHAUSTED, details: "too many requests" };
    }
    if (error instanceof AuthenticationError || error instanceof AuthorizationError) {
      metrics.refused(error instanceof AuthenticationError ? "authentication" : "authorization");
      log.warn({ peer, reason: error.message }, "certificate refused");
      // Opaque: a caller must not learn what runs where.
      return { code: GRPC_STATUS.UNAUTHENTICATED, details: "request authenticate failure" };
    }
    if (error instanceof RequestError) {
      metrics.refused(error.reason);
      log.warn({ peer, reason: error.message }, "certificate refused");
      return { code: GRPC_STATUS.INVALID_ARGUMENT, details: error.message };
    }
    // It has said so itself, or is gone.
    if (error instanceof GrpcError) return { code: error.code, details: error.message };
    metrics.refused("internal");
    log.error({ peer, err: error }, "cannot issue a certificate");
    return { code: GRPC_STATUS.UNAVAILABLE, details: "cannot issue a certificate now" };
  }
}

/** Of a PEM signing request, once its signature proves that the caller has the key. */
async function publicKeyOf(pem: string): Promise<CryptoKey> {
  if (pem.length > MAX_CSR_BYTES) throw new RequestError("csr", `a signing request has at most ${MAX_CSR_BYTES} bytes`);
  try {
    const request = new x509.Pkcs10CertificateRequest(pem);
    const key = await request.publicKey.export(crypto);
    if (!(await request.verify(crypto))) throw new Error("the signature does not fit the key");
    const { name, modulusLength } = key.algorithm as { name: string; modulusLength?: number };
    if (modulusLength !== undefined && modulusLength < MIN_RSA_BITS) {
      throw new Error(`an RSA key needs at least ${MIN_RSA_BITS} bits`);
    }
    if (name !== "ECDSA" && !name.startsWith("RSA")) throw new Error(`keys of type ${name} are not signed`);
    return key;
  } catch (error) {
    throw new RequestError("csr", `unusable signing request: ${error instanceof Error ? error.message : error}`);
  }
}
