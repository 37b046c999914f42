/** A pod's volumes as folders of the machine, kept in step with what they show. */
import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { DownwardItem, KeyToPath, Pod, ProjectedSource, Volume } from "../kinds/types.ts";
import { type VolumeFile, writeFiles } from "./atomic-files.ts";
import { fieldValue, type PodFacts } from "./environment.ts";

/** Where the contents of volumes come from. */
export interface VolumeSources {
  configMap(namespace: string, name: string): Readonly<Record<string, Buffer>> | undefined;
  secret(namespace: string, name: string): Readonly<Record<string, Buffer>> | undefined;
  /** A token for the pod's account. */
  token(pod: Pod, audience: string | undefined, seconds: number): Promise<string>;
}

/** Something a volume shows is not there (yet); the pod waits. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
}

const DEFAULT_MODE = 0o644;
const DEFAULT_TOKEN_SECONDS = 3600;
/** A token is exchanged after this part of its life, as by kubelet. */
const TOKEN_PART = 0.8;
/** Folders of which each node has its own; everything else of the machine is shared by all nodes. */
const NODE_FOLDERS = ["/run", "/var/run", "/var/lib", "/var/log", "/etc/cni", "/opt/cni"];
const BPF_FOLDER = "/sys/fs/bpf";

interface HeldToken {
  token: string;
  renewAt: number;
}

export class PodVolumes {
  readonly #folder: string;
  readonly #nodeDir: string;
  readonly #sources: VolumeSources;
  readonly #tokens = new Map<string, HeldToken>();
  #generation = 0;

  /** `folder` is the pod's own, `nodeDir` the node's. */
  constructor(folder: string, nodeDir: string, sources: VolumeSources) {
    this.#folder = folder;
    this.#nodeDir = nodeDir;
    this.#sources = sources;
  }

  /** Where on the machine a volume is. */
  pathOf(volume: Volume): string {
    if (volume.hostPath === undefined) return join(this.#folder, volume.name);
    const { path } = volume.hostPath;
    if (path === BPF_FOLDER || path.startsWith(`${BPF_FOLDER}/`)) {
      return join(this.#nodeDir, "bpf", path.slice(BPF_FOLDER.length));
    }
    const isOwn = NODE_FOLDERS.some((folder) => path === folder || path.startsWith(`${folder}/`));
    return isOwn ? join(this.#nodeDir, "host", path) : path;
  }

  /** Writes all volumes. Throws VolumeError while something is missing. */
  async write(facts: PodFacts): Promise<void> {
    for (const volume of facts.pod.spec.volumes ?? []) await this.#writeOne(volume, facts);
  }

  /** Milliseconds until a token wants to be exchanged. */
  get renewInMs(): number | undefined {
    if (this.#tokens.size === 0) return undefined;
    return Math.max(0, Math.min(...[...this.#tokens.values()].map((held) => held.renewAt)) - Date.now());
  }

  async #writeOne(volume: Volume, facts: PodFacts): Promise<void> {
    const path = this.pathOf(volume);
    if (volume.hostPath !== undefined) {
      const { type = "" } = volume.hostPath;
      const mayCreate = type === "DirectoryOrCreate" || path !== volume.hostPath.path;
      if (!existsSync(path) && mayCreate) mkdirSync(path, { recursive: true });
      if (!existsSync(path))
        throw new VolumeError(`volume "${volume.name}": hostPath ${volume.hostPath.path} does not exist`);
      return;
    }
    const files = await this.#files(volume, facts);
    if (files === undefined) mkdirSync(path, { recursive: true, mode: 0o777 });
    else writeFiles(path, files, ++this.#generation);
  }

  /** Undefined for a plain empty folder. */
  async #files(volume: Volume, facts: PodFacts): Promise<VolumeFile[] | undefined> {
    const namespace = facts.pod.metadata.namespace ?? "";
    const mode =
      volume.configMap?.defaultMode ?? volume.secret?.defaultMode ?? volume.projected?.defaultMode ?? DEFAULT_MODE;
    if (volume.configMap !== undefined) return this.#keyed("configMap", namespace, volume.configMap, mode);
    if (volume.secret !== undefined) {
      return this.#keyed("secret", namespace, { ...volume.secret, name: volume.secret.secretName }, mode);
    }
    if (volume.downwardAPI !== undefined) return downward(volume.downwardAPI.items ?? [], facts, mode);
    if (volume.projected === undefined) return undefined;
    const files: VolumeFile[] = [];
    for (const source of volume.projected.sources ?? [])
      files.push(...(await this.#projected(volume, source, facts, mode)));
    return files;
  }

  async #projected(volume: Volume, source: ProjectedSource, facts: PodFacts, mode: number): Promise<VolumeFile[]> {
    const namespace = facts.pod.metadata.namespace ?? "";
    if (source.configMap !== undefined) return this.#keyed("configMap", namespace, source.configMap, mode);
    if (source.secret !== undefined) return this.#keyed("secret", namespace, source.secret, mode);
    if (source.downwardAPI !== undefined) return downward(source.downwardAPI.items ?? [], facts, mode);
    const wish = source.serviceAccountToken;
    if (wish === undefined) return [];
    const token = await this.#token(`${volume.name}/${wish.path}`, facts.pod, wish.audience, wish.expirationSeconds);
    return [{ path: wish.path, content: Buffer.from(token), mode }];
  }

  async #token(key: string, pod: Pod, audience: string | undefined, seconds = DEFAULT_TOKEN_SECONDS): Promise<string> {
    const held = this.#tokens.get(key);
    if (held !== undefined && Date.now() < held.renewAt) return held.token;
    const token = await this.#sources.token(pod, audience, seconds);
    this.#tokens.set(key, { token, renewAt: Date.now() + seconds * 1000 * TOKEN_PART });
    return token;
  }

  #keyed(
    kind: "configMap" | "secret",
    namespace: string,
    ref: { name: string; items?: KeyToPath[]; optional?: boolean },
    mode: number,
  ): VolumeFile[] {
    const data = this.#sources[kind](namespace, ref.name);
    if (data === undefined) {
      if (ref.optional === true) return [];
      throw new VolumeError(`${kind.toLowerCase()} "${ref.name}" not found`);
    }
    if (ref.items === undefined) return Object.entries(data).map(([path, content]) => ({ path, content, mode }));
    return ref.items.flatMap((item) => {
      const content = data[item.key];
      if (content === undefined && ref.optional === true) return [];
      if (content === undefined) throw new VolumeError(`${kind.toLowerCase()} "${ref.name}" has no key "${item.key}"`);
      return [{ path: item.path, content, mode: item.mode ?? mode }];
    });
  }
}

function downward(items: readonly DownwardItem[], facts: PodFacts, mode: number): VolumeFile[] {
  return items.map((item) => ({
    path: item.path,
    content: Buffer.from(fieldValue(item.fieldRef?.fieldPath ?? "", facts)),
    mode,
  }));
}

/**
 * A path inside a container with the machine's symbolic links followed (`/var/run` is `/run`): mounts are made from
 * outside, where an absolute link would lead out of the container.
 */
export function resolveInside(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  for (let known = parts.length; known > 0; known--) {
    const prefix = `/${parts.slice(0, known).join("/")}`;
    if (existsSync(prefix)) return join(realpathSync(prefix), ...parts.slice(known));
  }
  return join("/", ...parts);
}
