/** `weft waypoint apply` */
import { setTimeout } from "node:timers/promises";
import type { ObjectName } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { GATEWAYS, NAMESPACES } from "#lib/kube/types.ts";
import { command } from "../../frame/command.ts";
import type { Context } from "../../frame/context.ts";
import { Failure, UsageError } from "../../frame/errors.ts";
import { DEFAULT_NAME, USE_WAYPOINT, WAYPOINT_CLASS, waypointManifest } from "../../mesh/waypoint-manifest.ts";
import { MANIFEST } from "./flags.ts";

const FIELD_MANAGER = "weft";
const DEFAULT_TIMEOUT_S = 60;
const POLL_MS = 250;

export const applyCommand = command({
  name: "apply",
  summary: "make a waypoint, and send a namespace's traffic through it if asked to",
  cluster: true,
  flags: {
    ...MANIFEST,
    "enroll-namespace": { type: "boolean", about: `label the namespace with ${USE_WAYPOINT}` },
    overwrite: { type: "boolean", about: "with --enroll-namespace: also when it uses another waypoint already" },
    wait: { type: "boolean", short: "w", about: "until it is programmed" },
    timeout: { type: "string", value: "SECONDS", about: `with --wait, how long (default: ${DEFAULT_TIMEOUT_S})` },
  },
  examples: [
    ["weft waypoint apply -n shop --enroll-namespace --wait", "For all services of a namespace"],
    ["weft waypoint apply -n shop --name reviews --for workload", "For workloads, to be named by labels of theirs"],
  ],
  run: async (context, { flags }) => {
    const namespace = context.namespace();
    if (namespace === undefined) throw new UsageError("weft waypoint apply is for one namespace, not for -A");
    const name = flags.name ?? DEFAULT_NAME;
    const timeoutMs = seconds(flags.timeout) * 1000;
    const enrolled = flags["enroll-namespace"] ? await currentWaypoint(context, namespace) : undefined;
    if (enrolled !== undefined && enrolled !== name && !flags.overwrite) {
      throw new Failure(`namespace ${namespace} uses waypoint "${enrolled}"`, "give --overwrite to change that");
    }
    const { client } = context.cluster();
    const wish = { namespace, name, trafficType: flags.for, revision: flags.revision };
    const manifest = waypointManifest({ ...wish, className: flags.class ?? WAYPOINT_CLASS });
    await client.apply(GATEWAYS, manifest, FIELD_MANAGER, { signal: context.signal }).catch((error: unknown) => {
      throw isNotFound(error) ? missing(error, namespace) : error;
    });
    context.out(`${context.paint.good("✔")} waypoint ${namespace}/${name} applied\n`);
    if (flags.wait) await programmed(context, { namespace, name }, timeoutMs);
    if (flags["enroll-namespace"]) {
      const labels = { [USE_WAYPOINT]: name };
      await client.patch(
        NAMESPACES,
        { name: namespace },
        "merge",
        { metadata: { labels } },
        { signal: context.signal },
      );
      context.out(`${context.paint.good("✔")} namespace ${namespace} labelled with ${USE_WAYPOINT}=${name}\n`);
    }
    return undefined;
  },
});

async function currentWaypoint({ cluster, signal }: Context, name: string): Promise<string | undefined> {
  try {
    return (await cluster().client.get(NAMESPACES, { name }, { signal })).metadata.labels?.[USE_WAYPOINT];
  } catch (error) {
    throw isNotFound(error) ? missing(error, name) : error;
  }
}

function missing(cause: unknown, namespace: string): Failure {
  const what = /namespaces? /.test(String(cause))
    ? `there is no namespace "${namespace}"`
    : "there are no Gateways here";
  const todo = what.includes("Gateways") ? "install the CRDs of the Gateway API, with weft install" : "make it first";
  return new Failure(what, todo, { cause });
}

async function programmed(context: Context, name: ObjectName, timeoutMs: number): Promise<void> {
  const { client } = context.cluster();
  const deadline = performance.now() + timeoutMs;
  const label = `waypoint ${name.namespace}/${name.name}`;
  context.progress(`waiting for ${label}`);
  for (;;) {
    const { status, metadata } = await client.get(GATEWAYS, name, { signal: context.signal });
    const condition = status?.conditions?.find(({ type }) => type === "Programmed");
    const isCurrent = (condition?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
    if (condition?.status === "True" && isCurrent) break;
    if (performance.now() > deadline) {
      const why =
        condition === undefined ? "no control plane has taken it up" : `${condition.reason}: ${condition.message}`;
      throw new Failure(`${label} is not programmed after ${timeoutMs / 1000} s: ${why}`, "see weft waypoint status");
    }
    await setTimeout(POLL_MS, undefined, { signal: context.signal });
  }
  context.out(`${context.paint.good("✔")} ${label} is ready\n`);
}

function seconds(text = String(DEFAULT_TIMEOUT_S)): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`--timeout ${text}: a whole number of seconds is expected`);
  return Number(text);
}
