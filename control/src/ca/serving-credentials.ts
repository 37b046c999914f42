/** Our own TLS: TLS 1.3 with AES-GCM only, and a certificate for the names under which agents reach us. */
import { createPrivateKey } from "node:crypto";
import type { SecureContextOptions } from "node:tls";
import type { Logger } from "pino";
import type { Authority } from "./authority.ts";
import { newSigningKey } from "./keys.ts";

const TTL_MS = 24 * 3_600_000;
/** Node's timers hold at most 24.8 days; renewal is at half life anyway. */
const RETRY_MS = 10_000;

export interface ServingCredentialsOptions {
  readonly authority: () => Authority;
  /** DNS names; an agent checks the one in its configuration. */
  readonly names: readonly string[];
  readonly log: Logger;
}

export class ServingCredentials {
  readonly #options: ServingCredentialsOptions;
  readonly #followers = new Set<(context: SecureContextOptions) => void>();
  #timer: NodeJS.Timeout | undefined;
  #context: SecureContextOptions;

  private constructor(options: ServingCredentialsOptions, context: SecureContextOptions) {
    this.#options = options;
    this.#context = context;
  }

  /** What our servers show. */
  get context(): SecureContextOptions {
    return this.#context;
  }

  /** `take` gets each later context, until the returned function is called. */
  follow(take: (context: SecureContextOptions) => void): () => void {
    this.#followers.add(take);
    return () => this.#followers.delete(take);
  }

  static async create(options: ServingCredentialsOptions): Promise<ServingCredentials> {
    const credentials = new ServingCredentials(options, await issue(options));
    credentials.#schedule(TTL_MS / 2);
    return credentials;
  }

  /** Takes a new certificate; connections that are open keep theirs. */
  async renew(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.#context = await issue(this.#options);
      for (const take of this.#followers) take(this.#context);
      this.#schedule(TTL_MS / 2);
    } catch (error) {
      this.#options.log.error({ err: error }, "cannot renew our own certificate");
      this.#schedule(RETRY_MS);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    this.#timer = setTimeout(() => void this.renew(), ms);
    this.#timer.unref();
  }
}

async function issue({ authority, names }: ServingCredentialsOptions): Promise<SecureContextOptions> {
  const { signing, publicKey } = await newSigningKey();
  const signer = authority();
  const subjectAltNames = names.map((value) => ({ type: "dns", value }) as const);
  const { pem } = await signer.issue({ publicKey, subjectAltNames, ttlMs: TTL_MS });
  return {
    cert: [pem, ...signer.intermediates].join(""),
    key: createPrivateKey(signing.pem).export({ format: "pem", type: "pkcs8" }),
    minVersion: "TLSv1.3",
    ciphers: "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
  };
}
