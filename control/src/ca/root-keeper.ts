/**
 * Keeps the certificate authority in step with its Secret: one that was given (`cacerts`), else one of our own that is
 * made when missing and rotated when due. Several replicas may run; the Secret's version settles who was first.
 */
import type { Logger } from "pino";
import { Backoff, pause } from "#lib/backoff.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import { SECRETS, type Secret } from "#lib/kube/types.ts";
import { Authority } from "./authority.ts";
import { CA_SECRET, type RotationSettings, readRootState, rotate, untilNextStep, writeRootState } from "./rotation.ts";

/** An intermediate that the operator gives; wins over a root of our own. */
export const GIVEN_SECRET = "cacerts";

export interface RootKeeperOptions {
  readonly client: KubeClient;
  /** Where the Secrets are. */
  readonly namespace: string;
  readonly settings: RotationSettings;
  /** How often the age of the root is looked at. */
  readonly checkIntervalMs: number;
  readonly log: Logger;
}

export class RootKeeper {
  readonly #options: RootKeeperOptions;
  readonly #listeners = new Set<(authority: Authority) => void>();
  #authority: Authority;
  /** Wakes the loop when a Secret changed. */
  #wake: () => void = () => {};

  private constructor(options: RootKeeperOptions, authority: Authority) {
    this.#options = options;
    this.#authority = authority;
  }

  /** Retries until there is an authority or the signal aborts. A given one that is broken is an error at once. */
  static async start(options: RootKeeperOptions, signal: AbortSignal): Promise<RootKeeper> {
    const backoff = new Backoff(200, 10_000);
    for (;;) {
      try {
        return new RootKeeper(options, (await load(options)).authority);
      } catch (error) {
        if (signal.aborted || error instanceof BrokenSecretError) throw error;
        options.log.warn({ err: error }, "cannot read the certificate authority's Secret yet");
        await pause(backoff.next(), signal);
      }
    }
  }

  get authority(): Authority {
    return this.#authority;
  }

  /** `listener` is called with each new authority. */
  onChange(listener: (authority: Authority) => void): void {
    this.#listeners.add(listener);
  }

  /** Follows the Secrets and rotates, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const watching = [GIVEN_SECRET, CA_SECRET].map((name) => this.#watch(name, signal));
    const { checkIntervalMs, log } = this.#options;
    while (!signal.aborted) {
      let waitMs = checkIntervalMs;
      try {
        const { authority, nextMs } = await load(this.#options);
        waitMs = Math.min(waitMs, nextMs);
        this.#take(authority);
      } catch (error) {
        // What signs now goes on signing: a broken change must not stop the mesh.
        log.error({ err: error }, "cannot take over the certificate authority's Secret; the last good one stays");
        waitMs = Math.min(waitMs, 10_000);
      }
      await this.#sleep(waitMs, signal);
    }
    await Promise.all(watching);
  }

  #take(authority: Authority): void {
    const old = this.#authority;
    const sameSigner = old.certificate.equal(authority.certificate) && old.key.pem === authority.key.pem;
    if (sameSigner && old.roots === authority.roots && `${old.intermediates}` === `${authority.intermediates}`) return;
    this.#authority = authority;
    this.#options.log.info({ signer: authority.certificate.serialNumber, sameSigner }, "certificate authority changed");
    for (const listener of this.#listeners) listener(authority);
  }

  async #watch(name: string, signal: AbortSignal): Promise<void> {
    const { client, namespace, log } = this.#options;
    const changed = () => this.#wake();
    const ofName = (secret: Secret) => {
      if (secret.metadata.name === name) changed();
    };
    const reflector = new Reflector(client, {
      type: SECRETS,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      handler: { replace: changed, upsert: ofName, remove: ofName },
      onError: (error) => log.warn({ err: error, secret: name }, "cannot watch a Secret"),
    });
    await reflector.run(signal);
  }

  /** Returns after `ms`, when a Secret changes, or when the signal aborts. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await pause(ms, AbortSignal.any([signal, woken.signal]));
  }
}

/** The Secret is there and cannot be used; the message says why. */
export class BrokenSecretError extends Error {
  override readonly name = "BrokenSecretError";
}

/** The authority as the Secrets say now, after any step of rotation that is due. */
async function load(options: RootKeeperOptions): Promise<{ authority: Authority; nextMs: number }> {
  const { client, namespace, settings, checkIntervalMs, log } = options;
  const given = await find(client, namespace, GIVEN_SECRET);
  if (given !== undefined) {
    return { authority: await broken(given, authorityFromGiven(given)), nextMs: checkIntervalMs };
  }
  const secret = await find(client, namespace, CA_SECRET);
  const now = Date.now();
  if (secret === undefined) {
    const signer = await Authority.selfSigned(settings.organization, settings.rootTtlMs);
    const state = { signer, requested: false, rotation: { phase: "steady" } } as const;
    log.info({ secret: `${namespace}/${CA_SECRET}` }, "making a new root certificate");
    return retryOnConflict(options, () =>
      client.create(SECRETS, writeRootState(state, { namespace, name: CA_SECRET })),
    );
  }
  const state = await broken(secret, readRootState(secret));
  const next = await rotate(state, settings, now);
  if (next === undefined) return { authority: state.signer, nextMs: untilNextStep(state, now, checkIntervalMs) };
  log.info({ from: state.rotation.phase, to: next.rotation.phase }, "root rotation");
  return retryOnConflict(options, () => client.update(SECRETS, writeRootState(next, secret.metadata)));
}

/** Writes, then reads what is there: ours, or what another replica wrote first. */
async function retryOnConflict(options: RootKeeperOptions, write: () => Promise<unknown>) {
  await write().catch((error: unknown) => {
    if (!isConflict(error)) throw error;
  });
  return load(options);
}

async function find(client: KubeClient, namespace: string, name: string): Promise<Secret | undefined> {
  try {
    return await client.get(SECRETS, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function authorityFromGiven(secret: Secret): Promise<Authority> {
  const text = (key: string) => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
  const cert = text("ca-cert.pem");
  return Authority.fromPem({
    cert,
    key: text("ca-key.pem"),
    chain: text("cert-chain.pem"),
    roots: text("root-cert.pem"),
  });
}

async function broken<T>(secret: Secret, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    const { namespace, name } = secret.metadata;
    const reason = error instanceof Error ? error.message : String(error);
    throw new BrokenSecretError(`Secret ${namespace}/${name}: ${reason}`, { cause: error });
  }
}
