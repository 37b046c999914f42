/**
 * Keeps the Secrets and ConfigMaps that somebody asks for, and no others: each is watched by its name, so that a role
 * that names a few objects, or binds in a few namespaces, is enough.
 */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { Reflector, type ReflectorHandler } from "#lib/kube/reflector.ts";
import { CONFIG_MAPS, type ConfigMap, SECRETS, type Secret } from "#lib/kube/types.ts";
import { OwnedNames } from "../../model/owned-names.ts";
import { type Credential, type CredentialRef, type CredentialSource, credentialKey } from "./credential-ref.ts";

export interface CredentialKeeperOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  /** What `get` gives for this one has changed. */
  readonly onChange: (key: string) => void;
}

/** Each is a watch of its own. */
const MAX_CREDENTIALS = 1_000;
/** A role may be bound any moment. */
const RETRY_MS = [200, 5_000] as const;
/** Whatever else an object holds is not kept. */
const KEYS = ["tls.crt", "tls.key", "ca.crt", "ca.crl", "cert", "key", "cacert", "crl"];
const LOADING: Credential = { state: "loading" };
const TOO_MANY: Credential = { state: "missing", reason: `more than ${MAX_CREDENTIALS} credentials are in use` };

interface Entry {
  readonly ref: CredentialRef;
  readonly stop: AbortController;
  credential: Credential;
}

export class CredentialKeeper implements CredentialSource {
  readonly #options: CredentialKeeperOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #keysOfUser = new OwnedNames();
  readonly #usersOfKey = new OwnedNames();
  readonly #running = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;
  #settled = Promise.withResolvers<void>();

  constructor(options: CredentialKeeperOptions) {
    this.#options = options;
    this.#settled.resolve();
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const entry of this.#entries.values()) this.#watch(entry);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.all(this.#running);
  }

  get(ref: CredentialRef): Credential {
    const entry = this.#entries.get(credentialKey(ref));
    if (entry !== undefined) return entry.credential;
    return this.#entries.size >= MAX_CREDENTIALS ? TOO_MANY : LOADING;
  }

  want(user: string, refs: readonly CredentialRef[]): void {
    const wanted = new Set<string>();
    for (const ref of refs) {
      const key = credentialKey(ref);
      if (!this.#entries.has(key) && this.#entries.size >= MAX_CREDENTIALS) continue;
      wanted.add(key);
      this.#usersOfKey.add(key, user);
      if (!this.#entries.has(key)) this.#begin(key, ref);
    }
    for (const key of this.#keysOfUser.replace(user, wanted)) {
      this.#usersOfKey.remove(key, user);
      if (this.#usersOfKey.of(key).size === 0) this.#end(key);
    }
  }

  /** Resolves when something is known of all that are wanted now. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  #begin(key: string, ref: CredentialRef): void {
    const entry: Entry = { ref, stop: new AbortController(), credential: LOADING };
    if (!this.#isLoading()) this.#settled = Promise.withResolvers();
    this.#entries.set(key, entry);
    this.#watch(entry);
  }

  #end(key: string): void {
    this.#entries.get(key)?.stop.abort();
    this.#entries.delete(key);
    this.#settle();
  }

  #watch(entry: Entry): void {
    if (this.#signal === undefined) return;
    const { ref, stop } = entry;
    const { client, log } = this.#options;
    const key = credentialKey(ref);
    const tell = (credential: Credential) => {
      if (this.#entries.get(key) !== entry || same(credential, entry.credential)) return;
      entry.credential = credential;
      this.#options.onChange(key);
      this.#settle();
    };
    const missing = (reason: string): Credential => ({ state: "missing", reason: `${key} ${reason}` });
    const isIt = ({ metadata }: Secret | ConfigMap) => metadata.name === ref.name;
    const handler: ReflectorHandler<Secret | ConfigMap> = {
      replace: (objects) => {
        const object = objects.find(isIt);
        tell(object === undefined ? missing("does not exist") : known(ref, object));
      },
      upsert: (object) => {
        if (isIt(object)) tell(known(ref, object));
      },
      remove: (object) => {
        if (isIt(object)) tell(missing("does not exist"));
      },
    };
    const reflector = new Reflector<Secret | ConfigMap>(client, {
      type: ref.kind === "Secret" ? SECRETS : CONFIG_MAPS,
      namespace: ref.namespace,
      fieldSelector: `metadata.name=${ref.name}`,
      handler,
      backoffMs: RETRY_MS,
      // What is known holds while the API is away.
      onError: (error) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (entry.credential.state === "known") log.warn({ credential: key, err: error }, "cannot follow a credential");
        else tell(missing(`may not or cannot be read: ${reason}`));
      },
    });
    const task = reflector.run(AbortSignal.any([this.#signal, stop.signal]));
    this.#running.add(task);
    void task.finally(() => this.#running.delete(task));
  }

  #isLoading(): boolean {
    return [...this.#entries.values()].some(({ credential }) => credential.state === "loading");
  }

  #settle(): void {
    if (!this.#isLoading()) this.#settled.resolve();
  }
}

function known({ kind }: CredentialRef, { data = {} }: Secret | ConfigMap): Credential {
  const kept = new Map<string, string>();
  for (const key of KEYS) {
    const value = data[key];
    if (typeof value !== "string") continue;
    kept.set(key, kind === "Secret" ? Buffer.from(value, "base64").toString() : value);
  }
  return { state: "known", data: kept };
}

function same(a: Credential, b: Credential): boolean {
  if (a.state === "known" && b.state === "known") {
    return a.data.size === b.data.size && [...a.data].every(([key, value]) => b.data.get(key) === value);
  }
  return a.state === "missing" && b.state === "missing" && a.reason === b.reason;
}
