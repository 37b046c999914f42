/** The gRPC server that agents connect to. */
import { Server, type ServerCredentials } from "@grpc/grpc-js";
import { CREATE_CERTIFICATE_METHOD, DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import { authenticationGate, type Refuser } from "./auth/authentication-gate.ts";
import type { TokenAuthenticator } from "./auth/token-authenticator.ts";
import { CERTIFICATE_SERVICE, type CertificateService } from "./ca/certificate-service.ts";
import type { ListenAddress } from "./config.ts";
import { listenError } from "./http-server.ts";
import { ADS_SERVICE, type AdsService } from "./xds/ads-service.ts";

export interface GrpcServer {
  readonly port: number;
  /** Ends streams in order, then whatever is left after a grace time. */
  close(): Promise<void>;
}

/** Requests are small; the largest is a first request with the versions of 100,000 resources. */
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
/** Clients come back to another replica now and then, so that load spreads after one was added. */
const MAX_AGE_MS = 30 * 60_000;
const MAX_AGE_GRACE_MS = 10_000;
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Streams per connection: one of discovery, and certificates asked for at the same time. */
const MAX_STREAMS = 100;
const CLOSE_GRACE_MS = 3_000;

export async function serveGrpc(
  listen: ListenAddress,
  credentials: ServerCredentials,
  ads: AdsService,
  certificates: CertificateService,
  authenticator: TokenAuthenticator,
): Promise<GrpcServer> {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
    "grpc.max_send_message_length": -1,
    "grpc.max_connection_age_ms": MAX_AGE_MS,
    "grpc.max_connection_age_grace_ms": MAX_AGE_GRACE_MS,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.max_concurrent_streams": MAX_STREAMS,
    "grpc.enable_channelz": 0,
    interceptors: [
      authenticationGate(
        authenticator,
        new Map<string, Refuser>([
          [DELTA_ADS_METHOD, ads],
          [CREATE_CERTIFICATE_METHOD, certificates],
        ]),
      ),
    ],
  });
  server.addService(ADS_SERVICE, ads.implementation);
  server.addService(CERTIFICATE_SERVICE, certificates.implementation);
  const port = await bind(server, listen, credentials);
  return {
    port,
    close: async () => {
      ads.close();
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, CLOSE_GRACE_MS);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      });
    },
  };
}

async function bind(server: Server, listen: ListenAddress, credentials: ServerCredentials): Promise<number> {
  const { host, port } = listen;
  // A machine without IPv6 has only the second.
  const hosts = host === "" ? ["[::]", "0.0.0.0"] : [host.includes(":") ? `[${host}]` : host];
  let last: unknown;
  for (const each of hosts) {
    try {
      return await new Promise<number>((resolve, reject) => {
        server.bindAsync(`${each}:${port}`, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
      });
    } catch (error) {
      last = error;
    }
  }
  const taken = String(last).includes("EADDRINUSE");
  throw listenError(listen, taken ? Object.assign(new Error(String(last)), { code: "EADDRINUSE" }) : last);
}
