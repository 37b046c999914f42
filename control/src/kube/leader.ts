/** Which replica writes to the API: the holder of a Lease. Serving does not depend on it. */
import type { Logger } from "pino";
import { pause } from "#lib/backoff.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict, isNotFound } from "#lib/kube/errors.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    /** RFC 3339 with microseconds. */
    readonly renewTime?: string;
  };
}

const LEASES: ResourceType<Lease> = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};

export const LEASE_NAME = "weft-control-leader";
/** Renewed this often in its life, so that two lost answers do not end it. */
const RENEWALS = 3;

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of this replica. */
  readonly identity: string;
  /** Whole seconds after which another replica takes over from one that is gone without a word. */
  readonly leaseSeconds: number;
  readonly log: Logger;
  /** Called when this replica becomes the leader. */
  readonly onLead: () => void;
}

export class Leader {
  readonly #options: LeaderOptions;
  #leadsUntil = 0;
  /** The lease as last seen, and when: its own clock is another machine's. */
  #seen = { version: "", at: 0 };

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  /** False as soon as another replica may have taken over. */
  get leads(): boolean {
    return performance.now() < this.#leadsUntil;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const begun = performance.now();
      const led = this.leads;
      try {
        if (await this.#hold(signal)) this.#leadsUntil = begun + this.#options.leaseSeconds * 1000;
        else this.#leadsUntil = 0;
      } catch (error) {
        if (!isConflict(error)) this.#options.log.warn({ err: error }, "cannot renew the leader's lease");
      }
      if (this.leads && !led) {
        this.#options.log.info({ identity: this.#options.identity }, "this replica writes statuses now");
        this.#options.onLead();
      }
      await pause((this.#options.leaseSeconds * 1000) / RENEWALS, signal);
    }
    await this.#release();
  }

  /** Whether the lease is ours now. */
  async #hold(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, identity, leaseSeconds } = this.#options;
    const name = { namespace, name: LEASE_NAME };
    const lease = await client.get(LEASES, name, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (lease === undefined) {
      await client.create(LEASES, this.#claim({ metadata: name }), { signal });
      return true;
    }
    const { holderIdentity = "", leaseDurationSeconds = leaseSeconds } = lease.spec ?? {};
    const version = lease.metadata.resourceVersion ?? "";
    if (version !== this.#seen.version) this.#seen = { version, at: performance.now() };
    const expired = performance.now() - this.#seen.at > leaseDurationSeconds * 1000;
    if (holderIdentity !== "" && holderIdentity !== identity && !expired) return false;
    await client.update(LEASES, this.#claim(lease), { signal });
    return true;
  }

  #claim(lease: Lease): Lease {
    const { identity, leaseSeconds } = this.#options;
    const now = new Date().toISOString().replace("Z", "000Z");
    const acquireTime = lease.spec?.holderIdentity === identity ? (lease.spec.acquireTime ?? now) : now;
    return {
      metadata: lease.metadata,
      spec: { holderIdentity: identity, leaseDurationSeconds: leaseSeconds, acquireTime, renewTime: now },
    };
  }

  /** So that the next replica need not wait for the lease to expire. */
  async #release(): Promise<void> {
    if (!this.leads) return;
    this.#leadsUntil = 0;
    const { client, namespace, log } = this.#options;
    try {
      const lease = await client.get(LEASES, { namespace, name: LEASE_NAME });
      if (lease.spec?.holderIdentity !== this.#options.identity) return;
      await client.update(LEASES, { ...lease, spec: { ...lease.spec, holderIdentity: "" } });
    } catch (error) {
      log.debug({ err: error }, "cannot release the leader's lease");
    }
  }
}
