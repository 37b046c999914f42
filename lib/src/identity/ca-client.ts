/** Asks the control plane's certificate authority for a workload's certificate. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client, Metadata, ServiceError } from "@grpc/grpc-js";
import { identityCodec, openChannel, requestMetadata } from "#lib/xds/channel.ts";
import type { PeerConfig, TokenSource } from "#lib/xds/peer.ts";
import { CREATE_CERTIFICATE_METHOD } from "#lib/xds/types.ts";
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from "#proto/ca_pb.ts";
import { createSigningRequest } from "./csr.ts";
import { parseAnswer, type Svid } from "./svid.ts";

/** What the identity manager needs of an authority. */
export interface CertificateAuthority {
  /** Rejects with the reason; never hangs past a deadline of its own. */
  issue(identity: string): Promise<Svid>;
}

export interface CaClientOptions {
  readonly open: () => Promise<Client>;
  readonly metadata: () => Promise<Metadata>;
  readonly ttlMs: number;
  /** The certificate is another workload's than the caller's: a node's agent asks for its pods. */
  readonly impersonate: boolean;
}

const REQUEST_TIMEOUT_MS = 10_000;

export class CaClient implements CertificateAuthority {
  readonly #options: CaClientOptions;
  #client: Promise<Client> | undefined;

  constructor(options: CaClientOptions) {
    this.#options = options;
  }

  async issue(identity: string): Promise<Svid> {
    const { csr, key } = await createSigningRequest(identity);
    const request = create(IstioCertificateRequestSchema, {
      csr,
      validityDuration: BigInt(Math.round(this.#options.ttlMs / 1000)),
      ...(this.#options.impersonate ? { metadata: { ImpersonatedIdentity: identity } } : {}),
    });
    const bytes = await this.#call(toBinary(IstioCertificateRequestSchema, request));
    return parseAnswer(identity, key, fromBinary(IstioCertificateResponseSchema, bytes).certChain);
  }

  close(): void {
    void this.#client?.then((client) => client.close()).catch(() => undefined);
    this.#client = undefined;
  }

  async #call(request: Uint8Array): Promise<Uint8Array> {
    const metadata = await this.#options.metadata();
    this.#client ??= this.#options.open();
    const channel = this.#client;
    try {
      const client = await channel;
      return await new Promise<Uint8Array>((resolve, reject) => {
        const { serialize, deserialize } = identityCodec;
        const deadline = Date.now() + REQUEST_TIMEOUT_MS;
        client.makeUnaryRequest(
          CREATE_CERTIFICATE_METHOD,
          serialize,
          deserialize,
          request,
          metadata,
          { deadline },
          (error: ServiceError | null, answer?: Buffer) => {
            if (error === null && answer !== undefined) resolve(answer);
            else reject(error ?? new Error("the authority sent no answer"));
          },
        );
      });
    } catch (error) {
      // A new channel next time: the root may have been replaced, or the address may resolve elsewhere.
      if (this.#client === channel) this.close();
      throw error;
    }
  }
}

/** An authority that is closed with its owner. */
export type Authority = CertificateAuthority & { close(): void };

export interface AuthorityOptions {
  readonly token: TokenSource;
  readonly clusterId: string;
  readonly ttlMs: number;
  readonly impersonate: boolean;
}

/** The authority at `peer`; without one every request fails and says so. */
export function authorityAt(peer: PeerConfig | undefined, options: AuthorityOptions): Authority {
  if (peer === undefined) {
    return {
      issue: () => Promise.reject(new Error("CA_ADDRESS is empty: no certificate can be had")),
      close: () => undefined,
    };
  }
  return new CaClient({
    open: () => openChannel(peer),
    metadata: () => requestMetadata(options.token, options.clusterId, peer),
    ttlMs: options.ttlMs,
    impersonate: options.impersonate,
  });
}
