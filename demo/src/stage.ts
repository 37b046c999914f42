/** What a story needs of the place where it plays: pods to run things in, agents to ask, a wire to listen on. */
import type { AccessLine } from "./access-log.ts";
import type { MetricSample } from "./metrics-text.ts";
import type { PodProcess } from "./pod-exec.ts";

export interface StagePod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly ip: string;
  readonly ip6: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly ready: boolean;
  /** The agent says that capture holds. */
  readonly enrolled: boolean;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What somebody on the wire between the nodes saw (demo/wiretap). */
export interface WireReport {
  readonly packets: number;
  readonly lost: number;
  readonly tcpBytes: number;
  readonly tunnelBytes: number;
  readonly clientHellos: number;
  readonly tlsRecords: number;
  readonly markerPackets: number;
}

export interface Stage {
  readonly kubeconfig: string;
  readonly nodes: readonly StageNode[];
  /** What `kubectl apply -f -` and `delete -f -` do with the YAML text. */
  apply(manifest: string): Promise<void>;
  remove(manifest: string): Promise<void>;
  pods(namespace: string): Promise<StagePod[]>;
  /** Runs a program of this machine in the pod. */
  exec(pod: StagePod, argv: readonly string[], timeoutMs?: number): Promise<ExecResult>;
  /** Starts a program of this machine in the pod; whoever starts it ends it. */
  start(pod: StagePod, argv: readonly string[]): Promise<PodProcess>;
  /** Listens between the nodes while `body` runs. */
  listenOnWire(marker: string, body: () => Promise<void>): Promise<WireReport>;
  /** The last lines of control plane and agents, for when something did not work. */
  systemLog(): Promise<string>;
  /** Ends everything and removes it. */
  down(): Promise<void>;
}

export interface StageNode {
  readonly name: string;
  readonly metricsUrl: string;
  /** Process id of the agent now running. */
  agentPid(): Promise<number>;
  accessLog(): Promise<AccessLine[]>;
  metrics(): Promise<MetricSample[]>;
}
