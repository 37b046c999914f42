/** The waypoint's own certificate: from the certificate authority, or from files that somebody else renews. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { authorityAt } from "#lib/identity/ca-client.ts";
import { type IdentityChange, IdentityManager, type IdentityStatus } from "#lib/identity/identity-manager.ts";
import type { LogRoot } from "#lib/log.ts";
import type { WaypointConfig } from "./config.ts";
import type { L7Engine } from "./native.ts";

export interface OwnIdentity {
  /** The engine has a certificate. */
  readonly ready: Promise<void>;
  status(): readonly IdentityStatus[];
  close(): void;
}

export async function startIdentity(config: WaypointConfig, engine: L7Engine, log: LogRoot): Promise<OwnIdentity> {
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const { identity: id, identityPath: path } = config;
  if (path !== undefined) {
    const [chain, key, roots] = await Promise.all(
      ["cert-chain.pem", "key.pem", "root-cert.pem"].map((name) => readFile(join(path, name), "utf8")),
    );
    engine.setIdentity({ id, chain: chain ?? "", key: key ?? "", roots: roots ?? "" });
    return { ready: Promise.resolve(), status: () => [], close: () => undefined };
  }
  if (config.ca === undefined) {
    // Listeners without HBONE need none; tunnels fail and say so.
    return { ready: Promise.resolve(), status: () => [], close: () => undefined };
  }
  const { ca, token, clusterId, secretTtlMs } = config;
  const authority = authorityAt(ca, { token, clusterId, ttlMs: secretTtlMs, impersonate: false });
  const push = (changes: readonly IdentityChange[]) => {
    for (const change of changes) {
      if (change.op !== "set-identity") continue;
      const { chain, key, roots } = change;
      engine.setIdentity({ id, chain, key, roots });
      resolve();
    }
  };
  const manager = new IdentityManager({ authority, push, log: log.logger("identity") });
  manager.acquire(id);
  return {
    ready,
    status: () => manager.status(),
    close: () => {
      manager.close();
      authority.close();
    },
  };
}
