/** What agents and waypoints connect to. */
import { CREATE_CERTIFICATE_METHOD, DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import type { CertificateService } from "./ca/certificate-service.ts";
import type { ServingCredentials } from "./ca/serving-credentials.ts";
import type { ListenAddress } from "./config.ts";
import { GrpcServer } from "./grpc/server.ts";
import { listenError } from "./http-server.ts";
import type { AdsService } from "./xds/ads-service.ts";

export interface ServedGrpc {
  readonly port: number;
  /** Ends streams in order, then whatever is left after a grace time. */
  close(): Promise<void>;
}

/** Requests are small; the largest is a first request with the versions of 100,000 resources. */
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;

export async function serveGrpc(
  listen: ListenAddress,
  credentials: ServingCredentials,
  ads: AdsService,
  certificates: CertificateService,
): Promise<ServedGrpc> {
  const server = new GrpcServer({
    context: credentials.context,
    methods: new Map([
      [DELTA_ADS_METHOD, (call) => ads.serve(call)],
      [CREATE_CERTIFICATE_METHOD, (call) => certificates.serve(call)],
    ]),
    maxRequestBytes: MAX_REQUEST_BYTES,
  });
  const unfollow = credentials.follow((context) => server.setSecureContext(context));
  const port = await server.listen(listen.host, listen.port).catch((error: unknown) => {
    unfollow();
    throw listenError(listen, error);
  });
  return {
    port,
    close: async () => {
      unfollow();
      ads.close();
      await server.close();
    },
  };
}
