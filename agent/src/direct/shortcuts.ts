/** Where peer redirect and express connections are on, and why not elsewhere: said when it changes, shown in the dump. */
import type { Logger } from "#lib/log.ts";
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { BpfPlane, NetnsCookie, PodId, Shortcut } from "../native.ts";

export interface ShortcutsOptions {
  readonly plane: Pick<BpfPlane, "redirects" | "checkRedirects" | "expressOff">;
  readonly pods: LocalPods;
  readonly log: Logger;
}

/** Undefined: on. */
type Off = string | undefined;

export class Shortcuts {
  readonly #options: ShortcutsOptions;
  readonly #expressOff: Off;
  readonly #redirects = new Map<NetnsCookie, Shortcut>();
  /** Pods that were told that there is no express. */
  readonly #told = new Set<PodId>();
  #pending: NodeJS.Immediate | undefined;

  constructor(options: ShortcutsOptions) {
    this.#options = options;
    this.#expressOff = options.plane.expressOff();
    if (this.#expressOff === undefined) options.log.info("express connections are offered");
    else options.log.info("express connections are not offered", { reason: this.#expressOff });
  }

  /** Why express connections are not offered on this node. */
  get expressOff(): Off {
    return this.#expressOff;
  }

  /** Pods whose packets may be redirected. */
  get redirected(): number {
    let count = 0;
    for (const { off } of this.#redirects.values()) if (off === undefined) count++;
    return count;
  }

  captured(pod: LocalPod): void {
    if (pod.express && this.#expressOff !== undefined && !this.#told.has(pod.id)) {
      this.#told.add(pod.id);
      this.#options.log.warn("pod asks for express connections, which are not offered", {
        pod: nameOf(pod),
        reason: this.#expressOff,
      });
    }
    // Pods come in crowds; one look tells of all.
    this.#pending ??= setImmediate(() => {
      this.#pending = undefined;
      this.#refresh();
    });
  }

  letGo(pod: LocalPod): void {
    this.#redirects.delete(pod.cookie);
    this.#told.delete(pod.id);
  }

  /** Other programs come to devices and leave them without telling us. */
  recheck(): void {
    this.#options.plane.checkRedirects();
    this.#refresh();
  }

  of(pod: LocalPod): { readonly redirect: string; readonly device: string | undefined; readonly express: string } {
    const redirect = this.#redirects.get(pod.cookie);
    return {
      redirect: redirect === undefined ? "off: not looked at yet" : stateOf(redirect.off),
      device: redirect?.device,
      express: pod.express ? stateOf(this.#expressOff) : "off: the pod has not asked for it",
    };
  }

  close(): void {
    clearImmediate(this.#pending);
  }

  #refresh(): void {
    const { plane, pods, log } = this.#options;
    for (const shortcut of plane.redirects()) {
      const pod = pods.byCookie(shortcut.pod);
      if (pod === undefined) continue;
      const before = this.#redirects.get(shortcut.pod);
      this.#redirects.set(shortcut.pod, shortcut);
      if (before !== undefined && before.off === shortcut.off && before.device === shortcut.device) continue;
      const { device, off } = shortcut;
      if (off === undefined) log.info("peer redirect is on", { pod: nameOf(pod), device });
      else log.info("peer redirect is off", { pod: nameOf(pod), device, reason: off });
    }
  }
}

function stateOf(off: Off): string {
  return off === undefined ? "on" : `off: ${off}`;
}

function nameOf({ namespace, name }: LocalPod): string {
  return `${namespace}/${name}`;
}
