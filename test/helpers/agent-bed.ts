/** One node with a real agent: pods on a PodBed, a fake Kubernetes API and a fake control plane that agree on them. */
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { eventually } from "#lib/eventually.ts";
import { NAMESPACES, PODS, type Pod } from "#lib/kube/types.ts";
import { ADDRESS_TYPE } from "#lib/xds/types.ts";
import { AgentProcess } from "./agent-process.ts";
import { FakeControl } from "./fake-control.ts";
import { FakeKube } from "./fake-kube.ts";
import { uidOf, type WorkloadFixture, workloadAddress } from "./mesh-fixtures.ts";
import { TestCa } from "./pki.ts";
import { type BedPod, PodBed } from "./pod-bed.ts";

export const NODE = "node-1";
const REDIRECTION = "ambient.istio.io/redirection";
const MODE = "istio.io/dataplane-mode";

export interface NodePod extends BedPod {
  readonly uid: string;
}

export class AgentBed {
  readonly bed: PodBed;
  readonly kube: FakeKube;
  readonly control: FakeControl;
  readonly pinDir: string;
  agent: AgentProcess;
  readonly kubeconfig: string;
  #pods = 0;

  private constructor(bed: PodBed, kube: FakeKube, control: FakeControl, kubeconfig: string, agent: AgentProcess) {
    this.bed = bed;
    this.kube = kube;
    this.control = control;
    this.pinDir = pinDirOf(bed);
    this.agent = agent;
    this.kubeconfig = kubeconfig;
  }

  static async create(tag: string, subnet: number): Promise<AgentBed> {
    const bed = new PodBed(tag, subnet);
    const kube = await FakeKube.start();
    const control = await FakeControl.start(await TestCa.create());
    kube.put(NAMESPACES, { metadata: { name: "default", labels: { [MODE]: "ambient" } } });
    const kubeconfig = `${tmpdir()}/${bed.name}.kubeconfig`;
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        "current-context": "fake",
        contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
        clusters: [{ name: "fake", cluster: { server: kube.url } }],
        users: [{ name: "fake", user: {} }],
      }),
    );
    try {
      const agent = await startAgent(bed, control, kubeconfig, {});
      return new AgentBed(bed, kube, control, kubeconfig, agent);
    } catch (error) {
      rmSync(kubeconfig, { force: true });
      control.stop();
      await kube.stop();
      await bed.dispose();
      throw error;
    }
  }

  /** A running pod in the API, and its network. Labelled as given; the namespace says ambient. */
  addPod(name: string, labels: Readonly<Record<string, string>> = {}): NodePod {
    const uid = this.#nextUid();
    const pod = { ...this.bed.addPod(name, `pod${uid}`), uid };
    this.putPod(pod, labels);
    // What is in a pod's cgroup is how its network is found.
    this.bed.spawn(pod, "sleep", ["600"]);
    return pod;
  }

  /** A pod with a cgroup and a network and no process yet; the API knows of it, and not of its address. */
  bearPod(name: string, labels: Readonly<Record<string, string>> = {}): NodePod {
    const uid = this.#nextUid();
    this.kube.put(PODS, pendingPod(name, uid, labels));
    return { ...this.bed.addPod(name, `pod${uid}`), uid };
  }

  #nextUid(): string {
    return `00000000-0000-4000-8000-${String(++this.#pods).padStart(12, "0")}`;
  }

  /** Puts the pod into the API as new. */
  putPod(pod: NodePod, labels: Readonly<Record<string, string>> = {}): void {
    this.kube.put(PODS, {
      metadata: { name: pod.name, namespace: "default", uid: pod.uid, labels },
      spec: { nodeName: NODE, serviceAccountName: pod.name },
      status: { phase: "Running", podIP: pod.ip, podIPs: [{ ip: pod.ip }, { ip: pod.ip6 }] },
    });
  }

  /** Tells the mesh of the pod, over HBONE unless said otherwise. */
  publish(pod: BedPod, more: Partial<WorkloadFixture> = {}): void {
    const fixture = { name: pod.name, ips: [pod.ip, pod.ip6], ...more };
    this.control.setAddress(uidOf(pod.name), workloadAddress(fixture));
  }

  unpublish(pod: BedPod): void {
    this.control.remove(ADDRESS_TYPE, uidOf(pod.name));
  }

  pod(name: string): Pod | undefined {
    return this.kube.read(PODS, "default", name);
  }

  redirection(name: string): string | undefined {
    return this.pod(name)?.metadata.annotations?.[REDIRECTION];
  }

  async enrolled(name: string): Promise<void> {
    await eventually(`pod ${name} is enrolled`, () => this.redirection(name) === "enabled", 15_000);
  }

  setLabels(name: string, labels: Readonly<Record<string, string>>): void {
    const pod = this.pod(name);
    if (pod !== undefined) this.kube.put(PODS, { ...pod, metadata: { ...pod.metadata, labels } });
  }

  async restart(env: Readonly<Record<string, string>> = {}, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    await this.agent.stop(signal);
    this.agent = await startAgent(this.bed, this.control, this.kubeconfig, env);
  }

  async dispose(): Promise<void> {
    await this.agent.stop();
    rmSync(this.pinDir, { recursive: true, force: true });
    rmSync(this.kubeconfig, { force: true });
    this.control.stop();
    await this.kube.stop();
    await this.bed.dispose();
  }
}

function pendingPod(name: string, uid: string, labels: Readonly<Record<string, string>>): Pod {
  return {
    metadata: { name, namespace: "default", uid, labels },
    spec: { nodeName: NODE, serviceAccountName: name },
    status: { phase: "Pending" },
  };
}

function startAgent(
  bed: PodBed,
  control: FakeControl,
  kubeconfig: string,
  env: Readonly<Record<string, string>>,
): Promise<AgentProcess> {
  return AgentProcess.start({
    cgroup: bed.agentCgroup,
    env: {
      NODE_NAME: NODE,
      KUBECONFIG: kubeconfig,
      XDS_ADDRESS: control.address,
      CA_ADDRESS: control.address,
      XDS_ROOT_CA: control.ca.root,
      CA_ROOT_CA: control.ca.root,
      AUTH_TOKEN: "test-token",
      POD_NAME: "weft-agent-1",
      POD_NAMESPACE: "istio-system",
      WEFT_PODS_CGROUP: bed.podsCgroup,
      WEFT_BPFFS_DIR: pinDirOf(bed),
      CONNECTION_TERMINATION_DEADLINE: "1s",
      ...env,
    },
  });
}

function pinDirOf(bed: PodBed): string {
  return `/sys/fs/bpf/${bed.name}`;
}
