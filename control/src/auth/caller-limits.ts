/** What one caller may use of the control plane, so that a stolen token or a fault of one node is felt by nobody else. */
import { Budgets } from "./budgets.ts";
import type { CallerIdentity } from "./token-authenticator.ts";

/** A client has one stream, and for a moment two when it reconnects; several processes may share a token of an account. */
const MAX_STREAMS = 16;
/** All identities of a full node at once, then what renewals and new pods need. */
const CERTIFICATES = { burst: 500, perSecond: 20, maxKeys: 20_000 };

/** The caller has used up what it may; it is to come again later. */
export class LimitError extends Error {
  override readonly name = "LimitError";
}

export class CallerLimits {
  readonly #streams = new Map<string, number>();
  readonly #certificates = new Budgets(CERTIFICATES);

  /** The returned function gives the place back. Throws LimitError. */
  openStream(caller: CallerIdentity): () => void {
    const key = keyOf(caller);
    const open = this.#streams.get(key) ?? 0;
    if (open >= MAX_STREAMS) throw new LimitError(`${key} has ${open} streams already`);
    this.#streams.set(key, open + 1);
    return () => {
      const left = (this.#streams.get(key) ?? 0) - 1;
      if (left > 0) this.#streams.set(key, left);
      else this.#streams.delete(key);
    };
  }

  /** Throws LimitError. */
  takeCertificate(caller: CallerIdentity): void {
    const key = keyOf(caller);
    if (!this.#certificates.take(key)) throw new LimitError(`${key} asks for certificates too often`);
  }
}

function keyOf({ namespace, serviceAccount, pod }: CallerIdentity): string {
  const account = `${namespace}/${serviceAccount}`;
  return pod === undefined ? account : `${account} in pod ${pod.name} (${pod.uid})`;
}
