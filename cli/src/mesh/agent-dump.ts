/** What agents and ztunnels say of themselves: parts of `/config_dump`. */
import { askAll } from "../cluster/ask.ts";
import { agentPods, type MeshPod } from "../cluster/mesh-pods.ts";
import type { Context } from "../frame/context.ts";

export interface GatewayJson {
  readonly destination: string;
  readonly hboneMtlsPort: number;
}

export interface WorkloadJson {
  readonly uid: string;
  readonly workloadIps: readonly string[];
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly protocol: string;
  readonly status: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly workloadName: string;
  readonly workloadType: string;
  readonly services?: readonly string[];
  readonly authorizationPolicies?: readonly string[];
  readonly waypoint?: GatewayJson;
}

export interface ServiceJson {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly string[];
  readonly ports: Readonly<Record<string, number>>;
  readonly endpoints: Readonly<Record<string, { readonly status: string }>>;
  readonly waypoint?: GatewayJson;
}

export interface PolicyJson {
  readonly name: string;
  readonly namespace: string;
  readonly scope: string;
  readonly action: string;
  readonly rules: readonly unknown[];
  readonly dryRun?: boolean;
}

export interface PemJson {
  readonly serialNumber: string;
  readonly validFrom: string;
  readonly expirationTime: string;
}

export interface CertificateJson {
  readonly identity: string;
  readonly state: string;
  readonly certChain: readonly PemJson[];
  readonly rootCerts: readonly PemJson[];
}

export interface ConnectionJson {
  readonly src: string;
  readonly originalDst: string;
  readonly actualDst: string;
  readonly protocol: string;
}

export interface PodStateJson {
  readonly state: string;
  readonly info?: { readonly name: string; readonly namespace: string };
  readonly connections?: { readonly inbound: readonly ConnectionJson[]; readonly outbound: readonly ConnectionJson[] };
}

export interface AgentDump {
  readonly workloads: readonly WorkloadJson[];
  readonly services: readonly ServiceJson[];
  readonly policies: readonly PolicyJson[];
  readonly certificates: readonly CertificateJson[];
  readonly workloadState: Readonly<Record<string, PodStateJson>>;
}

export type AgentPart = keyof AgentDump;

/** Which agents are asked. */
export interface AgentChoice {
  readonly node?: string | undefined;
  /** `POD` or `POD.NAMESPACE`, as istioctl takes it. */
  readonly pod?: string | undefined;
}

export interface AgentAnswers<Part extends AgentPart> {
  readonly agents: readonly { readonly agent: MeshPod; readonly dump: Pick<AgentDump, Part> }[];
  readonly failed: number;
}

/** Asks agents for parts of their dump. ztunnels, which know no parts, send all of it. */
export async function askAgents<Part extends AgentPart>(
  context: Context,
  choice: AgentChoice,
  parts: readonly Part[],
): Promise<AgentAnswers<Part>> {
  const pods = await agentPods(context, choice);
  const path = `/config_dump?only=${parts.join(",")}`;
  const { answers, failed } = await askAll(context, pods, (port) => port.json<Pick<AgentDump, Part>>(path));
  return { agents: answers.map(([agent, dump]) => ({ agent, dump })), failed };
}
