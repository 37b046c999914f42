/** The pods of this node, those included that left not long ago: records of their last connections come after them. */
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { NetnsCookie, PodId } from "../native.ts";

const MAX_DEPARTED = 1024;

export class PodMemory {
  readonly #pods: LocalPods;
  readonly #departed = new Map<PodId, LocalPod>();
  readonly #departedByCookie = new Map<NetnsCookie, LocalPod>();

  constructor(pods: LocalPods) {
    this.#pods = pods;
  }

  podLeft(pod: LocalPod): void {
    this.#departed.set(pod.id, pod);
    this.#departedByCookie.set(pod.cookie, pod);
    for (const [id, { cookie }] of this.#departed) {
      if (this.#departed.size <= MAX_DEPARTED) break;
      this.#departed.delete(id);
      if (this.#departedByCookie.get(cookie)?.id === id) this.#departedByCookie.delete(cookie);
    }
  }

  readonly get = (id: PodId): LocalPod | undefined => this.#pods.get(id) ?? this.#departed.get(id);

  readonly byCookie = (cookie: NetnsCookie): LocalPod | undefined =>
    this.#pods.byCookie(cookie) ?? this.#departedByCookie.get(cookie);
}
