/**
 * What the kernel thinks of pods that are not captured. A pod of the mesh connects through the agent or not at all, from its
 * first process on; one that nobody knows yet waits a moment; all others are untouched.
 */
import { errorText, type Logger } from "#lib/log.ts";
import type { BpfPlane, Membership } from "../native.ts";
import type { PodFolderView } from "./pod-folders.ts";

export interface NewcomersOptions {
  readonly plane: Pick<BpfPlane, "setMembership" | "keepMemberships" | "guardNewcomers">;
  readonly folders: PodFolderView & { readonly seesAll: boolean };
  readonly log: Logger;
}

/** How long the kernel believes that we are about to find out whose a new pod is: an agent that hangs blocks nobody for longer. */
const GUARD_MS = 10_000;
const RENEW_MS = 2_000;

export class Newcomers {
  readonly #options: NewcomersOptions;
  /** By folder: a pod that comes again under its uid has another one. */
  readonly #said = new Map<string, Membership>();
  /** By uid: who wants to know when the pod need no longer be waited for. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #renewal: NodeJS.Timeout | undefined;

  constructor(options: NewcomersOptions) {
    this.#options = options;
  }

  of(uid: string): Membership | undefined {
    const path = this.#options.folders.of(uid);
    return path === undefined ? undefined : this.#said.get(path);
  }

  /** Without effect while the pod has no folder, that is no process either. */
  say(uid: string, membership: Membership): void {
    const path = this.#options.folders.of(uid);
    if (path === undefined) return;
    this.sayOfFolder(path, membership);
    if (membership === "held") return;
    for (const resolve of this.#waiters.get(uid) ?? []) resolve();
    this.#waiters.delete(uid);
  }

  /** Resolves when the pod is taken in or known to be outside, by the signal at the latest. */
  settled(uid: string, signal: AbortSignal): Promise<void> {
    const membership = this.of(uid);
    if (signal.aborted || (membership !== undefined && membership !== "held")) return Promise.resolve();
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(uid) ?? new Set();
      this.#waiters.set(uid, waiters.add(resolve));
      signal.addEventListener(
        "abort",
        () => {
          waiters.delete(resolve);
          if (waiters.size === 0 && this.#waiters.get(uid) === waiters) this.#waiters.delete(uid);
          resolve();
        },
        { once: true },
      );
    });
  }

  sayOfFolder(path: string, membership: Membership): void {
    if (this.#said.get(path) === membership) return;
    try {
      this.#options.plane.setMembership(path, membership);
      this.#said.set(path, membership);
    } catch (error) {
      // Gone between two looks, most of all.
      this.#options.log.debug("cannot say whose a pod is", { path, membership, error: errorText(error) });
    }
  }

  /** To be called once everything that there is has been said. */
  guard(): void {
    this.#renew();
    this.#renewal ??= setInterval(() => this.#renew(), RENEW_MS).unref();
  }

  /** Forgets the folders that are gone. */
  sweep(): void {
    const paths = this.#options.folders.paths();
    const present = new Set(paths);
    for (const path of this.#said.keys()) if (!present.has(path)) this.#said.delete(path);
    this.#options.plane.keepMemberships(paths);
  }

  /** What is in force goes on for a moment: the next agent is about to start. */
  stop(): void {
    clearInterval(this.#renewal);
  }

  /** Nobody follows. */
  letGo(): void {
    this.stop();
    this.#options.plane.guardNewcomers(0);
    this.#said.clear();
    this.#options.plane.keepMemberships([]);
  }

  #renew(): void {
    if (this.#options.folders.seesAll) this.#options.plane.guardNewcomers(GUARD_MS);
  }
}
