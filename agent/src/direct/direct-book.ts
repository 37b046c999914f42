/**
 * What BPF decides by itself, kept in step with routes and policies: its routes, the verdicts that they need, and which
 * pods take plaintext from outside without the agent. Everything reaches the maps within the turn in which it was heard.
 *
 * A change of policies comes in two halves around the engine's own: `expire` before it, so that nothing that was decided
 * by the old ones counts any more, and `settle` after it. Until `adopt` what an earlier process decided goes on to count.
 */
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { BpfPlane, DirectEndpoint, NetnsCookie, PodId, SocketAddress } from "../native.ts";
import type { RouteRequest } from "../route/route-book.ts";
import { familyOf } from "./choice.ts";
import type { DirectPort } from "./direct-port.ts";
import type { Verdict, VerdictBook } from "./verdict-book.ts";

export interface DirectBookOptions {
  readonly port: DirectPort;
  readonly plane: Pick<BpfPlane, "routes" | "captured">;
  readonly pods: LocalPods;
  readonly verdicts: VerdictBook;
  /** Whether no policy at all is in force for the pod. */
  readonly unrestricted: (pod: PodId) => boolean;
}

interface KernelRoute {
  readonly destination: SocketAddress;
  readonly verdicts: readonly Verdict[];
}

export class DirectBook {
  readonly #options: DirectBookOptions;
  /** By pod, then by destination. */
  readonly #routes = new Map<NetnsCookie, Map<string, KernelRoute>>();
  /** What was told last. */
  readonly #open = new Map<NetnsCookie, boolean>();
  readonly #expired = new Set<NetnsCookie>();
  /** Routes of an earlier process whose pods have not come in yet. */
  #pinned = new Map<NetnsCookie, SocketAddress[]>();
  #adopted = false;
  #size = 0;

  constructor(options: DirectBookOptions) {
    this.#options = options;
  }

  /** Routes that BPF follows by itself. */
  get size(): number {
    return this.#size;
  }

  get adopted(): boolean {
    return this.#adopted;
  }

  /** `RouteBook`'s word on what BPF may choose from. With the next `flush`. */
  readonly setRoute = (id: PodId, destination: SocketAddress, endpoints: readonly DirectEndpoint[]): void => {
    const pod = this.#options.pods.get(id);
    if (pod === undefined) return;
    const { queue } = this.#options.port;
    const before = this.#routes.get(pod.cookie)?.get(routeId(destination));
    if (endpoints.length === 0) {
      // One that we did not write may be of an earlier process.
      queue.push({ op: "remove-route", pod: pod.cookie, destination });
      this.#remember(pod.cookie, destination, undefined);
    } else {
      const verdicts = this.#acquire(pod, endpoints);
      queue.push({ op: "set-route", pod: pod.cookie, destination, endpoints });
      this.#remember(pod.cookie, destination, { destination, verdicts });
    }
    for (const verdict of before?.verdicts ?? []) this.#options.verdicts.release(verdict, queue);
  };

  /**
   * First half of a change of these pods' policies, with effect at once: connections to them go to the agent until
   * `settle`, and who is no longer open takes none by itself.
   */
  expire(pods: Iterable<PodId>): void {
    if (!this.#adopted) return;
    const { port } = this.#options;
    for (const id of pods) {
      const pod = this.#options.pods.get(id);
      if (pod === undefined || this.#options.pods.byCookie(pod.cookie) !== pod) continue;
      this.#expired.add(pod.cookie);
      port.queue.push({ op: "expire-verdicts", pod: pod.cookie });
      if (!this.#options.unrestricted(id)) this.#setOpen(pod.cookie, false);
    }
    port.flush();
  }

  /** Second half. Returns the pods whose open connections may not be allowed any more. */
  settle(): ReadonlySet<NetnsCookie> {
    const { port, verdicts } = this.#options;
    const changed = new Set(this.#expired);
    for (const cookie of this.#expired) verdicts.decideAnew(cookie, port.queue);
    this.#expired.clear();
    if (this.#adopted) this.#syncOpen();
    port.flush();
    return changed;
  }

  flush(): void {
    this.#options.port.flush();
  }

  /** The pod is captured, anew or again. `compile` is asked for its routes of an earlier process. */
  captured(pod: LocalPod, compile: (requests: readonly RouteRequest[]) => void): void {
    if (!this.#adopted) return;
    const pinned = this.#pinned.get(pod.cookie) ?? [];
    this.#pinned.delete(pod.cookie);
    compile(pinned.map((destination) => ({ pod: pod.id, destination })));
    this.settle();
  }

  /** The pod left; its routes have been taken back. `kept`: the kernel goes on capturing it. */
  letGo({ cookie }: LocalPod, kept: boolean): void {
    const { port, verdicts } = this.#options;
    for (const { destination, verdicts: needed } of this.#routes.get(cookie)?.values() ?? []) {
      port.queue.push({ op: "remove-route", pod: cookie, destination });
      for (const verdict of needed) verdicts.release(verdict, port.queue);
      this.#size--;
    }
    this.#routes.delete(cookie);
    this.#expired.delete(cookie);
    if (kept) {
      port.queue.push({ op: "expire-verdicts", pod: cookie });
      this.#setOpen(cookie, false);
    }
    this.#open.delete(cookie);
    port.flush();
  }

  /**
   * Takes over what an earlier process has pinned, once pods and mesh are known: every route is compiled anew, which
   * replaces it without a gap, or goes with a pod that is gone.
   */
  adopt(compile: (requests: readonly RouteRequest[]) => void): void {
    const { plane, pods, port } = this.#options;
    this.#adopted = true;
    const requests: RouteRequest[] = [];
    const held = new Set(plane.captured());
    this.#distrust(held);
    for (const { pod: cookie, destination } of plane.routes()) {
      const pod = pods.byCookie(cookie);
      if (pod !== undefined) {
        requests.push({ pod: pod.id, destination });
      } else if (held.has(cookie)) {
        const waiting = this.#pinned.get(cookie);
        if (waiting === undefined) this.#pinned.set(cookie, [destination]);
        else waiting.push(destination);
      } else {
        port.queue.push({ op: "remove-route", pod: cookie, destination });
      }
    }
    compile(requests);
    this.settle();
  }

  /**
   * For a pod that the kernel holds and that is not in yet nobody decides, perhaps for long: what an earlier process
   * decided for it and about it may be forbidden by now, and must not go on to count.
   */
  #distrust(held: ReadonlySet<NetnsCookie>): void {
    const { pods, port } = this.#options;
    const waiting = [...held].filter((cookie) => pods.byCookie(cookie) === undefined);
    if (waiting.length === 0) return;
    for (const pod of held) port.queue.push({ op: "expire-verdicts", pod });
    for (const pod of waiting) port.queue.push({ op: "set-open", pod, open: false });
  }

  #acquire(source: LocalPod, endpoints: readonly DirectEndpoint[]): Verdict[] {
    const { pods, port, verdicts } = this.#options;
    const needed: Verdict[] = [];
    for (const { pod, address } of endpoints) {
      const destination = pod === undefined ? undefined : pods.byCookie(pod);
      if (destination === undefined) continue;
      const key = { port: address.port, family: familyOf(address) };
      needed.push(verdicts.acquire(source, destination, key, port.queue));
    }
    return needed;
  }

  #remember(cookie: NetnsCookie, destination: SocketAddress, route: KernelRoute | undefined): void {
    const routes = this.#routes.get(cookie) ?? new Map<string, KernelRoute>();
    const before = routes.size;
    if (route === undefined) routes.delete(routeId(destination));
    else routes.set(routeId(destination), route);
    this.#size += routes.size - before;
    if (routes.size === 0) this.#routes.delete(cookie);
    else this.#routes.set(cookie, routes);
  }

  #syncOpen(): void {
    const { pods, unrestricted } = this.#options;
    for (const pod of pods.values()) {
      if (pods.byCookie(pod.cookie) === pod) this.#setOpen(pod.cookie, unrestricted(pod.id));
    }
  }

  #setOpen(cookie: NetnsCookie, open: boolean): void {
    if (this.#open.get(cookie) === open) return;
    this.#open.set(cookie, open);
    this.#options.port.queue.push({ op: "set-open", pod: cookie, open });
  }
}

function routeId({ ip, port }: SocketAddress): string {
  return `${ip}|${port}`;
}
