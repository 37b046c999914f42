/** Says on each pod whether its traffic is captured: the control plane tells the mesh of HBONE by this annotation. */
import { Backoff } from "#lib/backoff.ts";
import { REDIRECTION } from "#lib/eligibility.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { KubeError } from "#lib/kube/errors.ts";
import { PODS, type Pod } from "#lib/kube/types.ts";
import { errorText, type Logger } from "#lib/log.ts";

export type Redirection = "enabled" | "pending";

export interface PodAnnotator {
  /** Makes the annotation so, now or when the API answers again. `undefined` removes it. Idempotent. */
  set(pod: Pod, value: Redirection | undefined): void;
  /** The pod is gone: nothing more to say of it. */
  forget(uid: string): void;
  /** Resolves when everything is as it was last set, or with `signal`. */
  settled(signal: AbortSignal): Promise<void>;
}

interface Wish {
  readonly namespace: string;
  readonly name: string;
  value: Redirection | undefined;
  /** What the API last confirmed or showed. */
  actual: string | undefined;
  busy: boolean;
  writing: Promise<void>;
}

const BACKOFF_MS = [200, 30_000] as const;

export class KubeAnnotator implements PodAnnotator {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #wishes = new Map<string, Wish>();

  constructor(client: KubeClient, log: Logger, signal: AbortSignal) {
    this.#client = client;
    this.#log = log;
    this.#signal = signal;
  }

  set(pod: Pod, value: Redirection | undefined): void {
    const { uid, namespace = "", name, annotations } = pod.metadata;
    if (uid === undefined) return;
    const wish = this.#wishes.get(uid) ?? {
      namespace,
      name,
      value,
      actual: undefined,
      busy: false,
      writing: Promise.resolve(),
    };
    this.#wishes.set(uid, wish);
    wish.value = value;
    if (!wish.busy) {
      wish.actual = annotations?.[REDIRECTION];
      wish.writing = this.#fulfil(uid, wish, new Backoff(...BACKOFF_MS));
    }
  }

  forget(uid: string): void {
    this.#wishes.delete(uid);
  }

  async settled(signal: AbortSignal): Promise<void> {
    const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    await Promise.race([Promise.all([...this.#wishes.values()].map(({ writing }) => writing)), aborted]);
  }

  async #fulfil(uid: string, wish: Wish, backoff: Backoff): Promise<void> {
    wish.busy = true;
    while (wish.value !== wish.actual && this.#wishes.get(uid) === wish && !this.#signal.aborted) {
      const value = wish.value;
      // The uid makes the API refuse when another pod has taken the name.
      const patch = { metadata: { uid, annotations: { [REDIRECTION]: value ?? null } } };
      try {
        await this.#client.patch(PODS, wish, "merge", patch, { subresource: "status", signal: this.#signal });
        wish.actual = value;
      } catch (error) {
        if (error instanceof KubeError && (error.status === 404 || error.status === 409)) break;
        this.#log.warn("cannot annotate pod", { pod: `${wish.namespace}/${wish.name}`, error: errorText(error) });
        await waitUnref(backoff.next());
      }
    }
    wish.busy = false;
  }
}

function waitUnref(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
