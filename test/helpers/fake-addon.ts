/** Engine and BPF plane that only remember what they were told. */
import type {
  BpfPlane,
  Command,
  ConnectionRecord,
  DirectCommand,
  DirectConnection,
  Engine,
  Membership,
  PodConfig,
  PodId,
  PolicyAnswer,
  PolicyPeer,
  Shortcut,
} from "../../agent/src/native.ts";

export class FakeEngine implements Engine {
  readonly pods = new Map<PodId, PodConfig>();
  readonly commands: Command[] = [];
  /** Names of calls, in order, shared with FakeBpf. */
  readonly calls: string[];
  failAddPod: string | undefined;
  live: ConnectionRecord[] = [];

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  addPod(config: PodConfig): void {
    if (this.failAddPod !== undefined) throw new Error(this.failAddPod);
    this.calls.push(`addPod ${config.uid}`);
    this.pods.set(config.id, config);
  }

  removePod(id: PodId): void {
    this.calls.push(`removePod ${this.pods.get(id)?.uid}`);
    this.pods.delete(id);
  }

  openDnsSockets(): { readonly udp: readonly number[]; readonly tcp: readonly number[] } {
    return { udp: [], tcp: [] };
  }

  apply(commands: readonly Command[]): void {
    this.commands.push(...commands);
  }

  evaluate(_pod: PodId, _peer: PolicyPeer): PolicyAnswer {
    return { allowed: true, dryRun: [] };
  }

  connections(): ConnectionRecord[] {
    return this.live;
  }

  stats() {
    return { reasons: {}, openConnections: 0, openTunnels: 0, bufferedBytes: 0 };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

export class FakeBpf implements BpfPlane {
  /** Cookies by the inode of the namespace, as the fake netns look-up gives it in its path. */
  readonly held = new Set<bigint>();
  readonly calls: string[];
  failCapture: string | undefined;
  readonly directCommands: DirectCommand[] = [];

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  capture(pod: { readonly netnsPath: string; readonly express?: boolean }): bigint {
    if (this.failCapture !== undefined) throw new Error(this.failCapture);
    const cookie = cookieOf(pod.netnsPath);
    this.calls.push(`capture ${cookie}${pod.express === true ? " express" : ""}`);
    this.held.add(cookie);
    return cookie;
  }

  release(cookie: bigint): void {
    this.calls.push(`release ${cookie}`);
    this.held.delete(cookie);
  }

  readonly memberships = new Map<string, Membership>();
  guardedForMs: number | undefined;

  setMembership(folder: string, membership: Membership): void {
    this.calls.push(`${membership} ${folder}`);
    this.memberships.set(folder, membership);
  }

  keepMemberships(folders: readonly string[]): void {
    for (const folder of this.memberships.keys()) if (!folders.includes(folder)) this.memberships.delete(folder);
  }

  guardNewcomers(forMs: number): void {
    this.guardedForMs = forMs;
  }

  captured(): bigint[] {
    return [...this.held];
  }

  counters(): Record<string, number> {
    return {};
  }

  direct(commands: readonly DirectCommand[]): string[] {
    this.directCommands.push(...commands);
    return [];
  }

  routes(): ReturnType<BpfPlane["routes"]> {
    return [];
  }

  directConnections(): Uint8Array {
    return new Uint8Array();
  }

  endDirect(_connections: readonly DirectConnection[]): number {
    return 0;
  }

  directOff(): string | undefined {
    return undefined;
  }

  permitPlain(_forMs: number): void {}

  redirects(): Shortcut[] {
    return [];
  }

  checkRedirects(): void {}

  expressOff(): string | undefined {
    return undefined;
  }

  close(): void {}
}

/** The fake namespaces have their cookie in their path. */
export function cookieOf(path: string): bigint {
  return BigInt(path.slice(path.lastIndexOf("/") + 1));
}
