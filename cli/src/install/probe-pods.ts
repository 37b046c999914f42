/** Tries every node in a pod of its own, which is allowed what the agent's will be: `weft check --local` there. */
import { pause } from "#lib/backoff.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { NODES, PODS, type Pod, type ResourceType } from "#lib/kube/types.ts";
import { podLog } from "../cluster/pod-logs.ts";
import type { Context } from "../frame/context.ts";
import { type Check, error } from "./check.ts";

const READY_MS = 120_000;
const POLL_MS = 300;
const MAX_NAME = 63;
const MAX_SAID = 120;

interface ProbePod extends Pod {
  readonly status?: Pod["status"] & {
    readonly containerStatuses?: readonly {
      readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
    }[];
  };
}
const PROBE_PODS = PODS as ResourceType<ProbePod>;
/** A kubelet that waits for this waits for ever. */
const HOPELESS =
  /^(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|CreateContainerError|CreateContainerConfigError)$/;

export async function probeNodes(context: Context, namespace: string, image: string): Promise<readonly Check[]> {
  const { items } = await context.cluster().client.list(NODES, { signal: context.signal });
  const names = items.map(({ metadata }) => metadata.name);
  context.progress(`trying ${names.length} nodes`);
  return (await Promise.all(names.map((node) => probeNode(context, namespace, node, image)))).flat();
}

async function probeNode(context: Context, namespace: string, node: string, image: string): Promise<readonly Check[]> {
  const { client } = context.cluster();
  const name = `weft-check-${node}`.slice(0, MAX_NAME).replace(/[^a-z0-9]+$/, "");
  const pod = { namespace, name };
  await remove(context, pod);
  try {
    await client.create(PROBE_PODS, manifest(pod, node, image), { signal: context.signal });
    const why = await ended(context, pod);
    if (why !== undefined)
      return [
        error(`node ${node} does not run ${image}: ${why}`, "push it to where nodes pull from, or load it there"),
      ];
    let text = "";
    const wish = { follow: false, tail: undefined, previous: false, sinceSeconds: undefined };
    for await (const line of podLog(context, pod, wish)) text += line;
    return answered(node, image, text);
  } finally {
    await remove(context, pod);
  }
}

function answered(node: string, image: string, text: string): readonly Check[] {
  try {
    return JSON.parse(text) as Check[];
  } catch {
    const said = text.slice(0, MAX_SAID);
    return [error(`node ${node}: ${image} answers "${said}"`, "give an image of the version of this command")];
  }
}

/** A text says why it never ran. */
async function ended(context: Context, pod: { namespace: string; name: string }): Promise<string | undefined> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const { status } = await context.cluster().client.get(PROBE_PODS, pod, { signal: context.signal });
    if (status?.phase === "Succeeded" || status?.phase === "Failed") return undefined;
    const waiting = status?.containerStatuses?.[0]?.state?.waiting;
    if (waiting?.reason !== undefined && HOPELESS.test(waiting.reason)) return waiting.reason;
    if (performance.now() > deadline) return `not within ${READY_MS / 1000} s`;
    await pause(POLL_MS, context.signal);
    context.signal.throwIfAborted();
  }
}

async function remove(context: Context, pod: { namespace: string; name: string }): Promise<void> {
  const { client } = context.cluster();
  // Also after Ctrl-C: nothing is to stay behind.
  const signal = AbortSignal.timeout(READY_MS);
  for (;;) {
    try {
      await client.delete(PROBE_PODS, pod, { signal });
      await client.get(PROBE_PODS, pod, { signal });
    } catch (failure) {
      if (isNotFound(failure)) return;
      throw failure;
    }
    await pause(POLL_MS, signal);
  }
}

function manifest(metadata: { namespace: string; name: string }, node: string, image: string): ProbePod {
  const folder = (name: string, path: string) => ({ name, hostPath: { path } });
  const spec = {
    nodeName: node,
    hostPID: true,
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    tolerations: [{ operator: "Exists" }],
    containers: [
      {
        name: "check",
        image,
        command: ["weft", "check", "--local", "-o", "json"],
        env: [{ name: "NODE_NAME", value: node }],
        securityContext: {
          runAsUser: 0,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"], add: ["BPF", "PERFMON", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"] },
        },
        volumeMounts: [
          { name: "bpffs", mountPath: "/sys/fs/bpf", mountPropagation: "HostToContainer" },
          { name: "cgroup", mountPath: "/sys/fs/cgroup", readOnly: true },
        ],
      },
    ],
    volumes: [folder("bpffs", "/sys/fs/bpf"), folder("cgroup", "/sys/fs/cgroup")],
  };
  return { metadata: { ...metadata, labels: { "istio.io/dataplane-mode": "none" } }, spec };
}
