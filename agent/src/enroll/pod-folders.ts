/**
 * The cgroup folders of this node's pods, as they come and go. The kubelet makes a pod's before it starts anything of it, so
 * this is the first that a node hears of a pod; the API's word may come before or after.
 */
import { type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import { errorText, type Logger } from "#lib/log.ts";
import { folders, isClassFolder, podUidOf } from "./cgroups.ts";

export interface PodFoldersOptions {
  readonly podsCgroup: string;
  /** A pod's folder is there, got its first process, lost its last, or is gone. */
  readonly onChange: (uid: string) => void;
  /** Among the pods' folders is one that no kubelet has made. */
  readonly onStranger: (path: string) => void;
  readonly log: Logger;
}

/** What the rest of enrolment asks. */
export interface PodFolderView {
  /** Path of the pod's folder. */
  of(uid: string): string | undefined;
  uids(): Iterable<string>;
  /** Of all that is there, strangers too. */
  paths(): readonly string[];
}

interface PodFolder {
  readonly path: string;
  readonly watcher: FSWatcher | undefined;
}

interface Found {
  readonly pods: Map<string, string>;
  readonly strangers: Set<string>;
  readonly shelves: Set<string>;
}

export class PodFolders implements PodFolderView {
  readonly #options: PodFoldersOptions;
  readonly #pods = new Map<string, PodFolder>();
  /** Folders that hold pods, by path. */
  readonly #shelves = new Map<string, FSWatcher | undefined>();
  #strangers: ReadonlySet<string> = new Set();
  #isBlind = false;

  constructor(options: PodFoldersOptions) {
    this.#options = options;
  }

  /** False: the kernel does not tell us of new folders (no watch was to be had), they are found by `rescan` alone. */
  get seesAll(): boolean {
    return !this.#isBlind;
  }

  of(uid: string): string | undefined {
    return this.#pods.get(uid)?.path;
  }

  uids(): Iterable<string> {
    return this.#pods.keys();
  }

  paths(): readonly string[] {
    return [...[...this.#pods.values()].map(({ path }) => path), ...this.#strangers];
  }

  /** Looks at everything; the first time this begins the watch. */
  rescan(): void {
    this.#isBlind = false;
    const found = new Map<string, string>();
    const strangers = new Set<string>();
    const shelves = new Set<string>();
    this.#collect(this.#options.podsCgroup, { pods: found, strangers, shelves });
    for (const [path, watcher] of this.#shelves) {
      if (shelves.has(path)) continue;
      watcher?.close();
      this.#shelves.delete(path);
    }
    for (const path of strangers) if (!this.#strangers.has(path)) this.#options.onStranger(path);
    this.#strangers = strangers;
    for (const uid of [...this.#pods.keys()]) if (!found.has(uid)) this.#gone(uid);
    for (const [uid, path] of found) if (this.of(uid) !== path) this.#appeared(uid, path);
  }

  close(): void {
    for (const watcher of this.#shelves.values()) watcher?.close();
    for (const { watcher } of this.#pods.values()) watcher?.close();
    this.#shelves.clear();
    this.#pods.clear();
  }

  #collect(shelf: string, found: Found): void {
    // Watched before it is read: what comes in between is told twice, not never.
    if (this.#shelves.get(shelf) === undefined) {
      this.#shelves.set(
        shelf,
        this.#watch(shelf, () => this.rescan()),
      );
    }
    found.shelves.add(shelf);
    for (const name of folders(shelf)) {
      const path = join(shelf, name);
      const uid = podUidOf(name);
      if (uid !== undefined) found.pods.set(uid, path);
      else if (shelf === this.#options.podsCgroup && isClassFolder(name)) this.#collect(path, found);
      else found.strangers.add(path);
    }
  }

  #appeared(uid: string, path: string): void {
    this.#pods.get(uid)?.watcher?.close();
    const watcher = this.#watch(join(path, "cgroup.events"), () => this.#options.onChange(uid));
    this.#pods.set(uid, { path, watcher });
    this.#options.onChange(uid);
  }

  #gone(uid: string): void {
    this.#pods.get(uid)?.watcher?.close();
    this.#pods.delete(uid);
    this.#options.onChange(uid);
  }

  #watch(path: string, changed: () => void): FSWatcher | undefined {
    try {
      // The kernel ends a watch whose folder goes; closing it then is up to whoever hears of that.
      return watch(path, { persistent: false }, changed).on("error", () => {});
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return undefined;
      if (!this.#isBlind) this.#options.log.warn("cannot watch the pods' cgroups", { path, error: errorText(error) });
      this.#isBlind = true;
      return undefined;
    }
  }
}
