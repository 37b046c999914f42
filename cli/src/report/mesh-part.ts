/** What of the mesh's own processes goes into a report: what they know, what they count, what they have said. */
import { AdminPort, METRICS_PORT } from "../cluster/admin-port.ts";
import { explained } from "../cluster/explain.ts";
import type { MeshPod } from "../cluster/mesh-pods.ts";
import { podLog } from "../cluster/pod-logs.ts";
import type { Context } from "../frame/context.ts";
import type { Archive } from "./archive.ts";

export interface PartOfMesh {
  readonly kind: "control" | "agents" | "waypoints";
  readonly pods: readonly MeshPod[];
}

/** Pages of the admin port, by kind; what is JSON is redacted as such. */
const PAGES: Readonly<Record<PartOfMesh["kind"], readonly string[]>> = {
  control: ["/debug/syncz", "/logging", "/version"],
  agents: ["/config_dump", "/logging", "/version", "/debug"],
  waypoints: ["/config_dump", "/clusters", "/stats", "/logging", "/version", "/debug"],
};

/** Lines of a log, joined as they come, up to this. */
const MAX_LOG_BYTES = 32 * 1024 * 1024;

/** Writes `<kind>/<pod>/…`; what cannot be had is a line of the returned list. */
export async function collectPod(
  context: Context,
  archive: Archive,
  kind: PartOfMesh["kind"],
  pod: MeshPod,
  tail: string,
): Promise<string[]> {
  const missing: string[] = [];
  const folder = `${kind}/${pod.namespace}.${pod.name}`;
  const attempt = async (what: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      if (context.signal.aborted) throw error;
      const why = explained(error, context.cluster());
      missing.push(`${folder}/${what}: ${why instanceof Error ? why.message : why}`);
    }
  };
  const admin = new AdminPort(context.cluster(), pod, context.signal);
  for (const page of PAGES[kind])
    await attempt(page, async () => save(archive, `${folder}${page}`, await admin.text(page)));
  if (kind !== "control") {
    const metrics = new AdminPort(context.cluster(), pod, context.signal, METRICS_PORT);
    await attempt("metrics", async () => archive.text(`${folder}/metrics.txt`, await metrics.text("/metrics")));
  }
  for (const previous of [false, true]) {
    const name = previous ? "previous.log" : "current.log";
    await attempt(name, async () => archive.text(`${folder}/${name}`, await logText(context, pod, tail, previous)));
  }
  // That a container was never restarted is nothing to report.
  return missing.filter((line) => !line.includes("previous.log"));
}

function save(archive: Archive, path: string, text: string): Promise<void> {
  try {
    return archive.json(`${path}.json`, JSON.parse(text));
  } catch {
    return archive.text(`${path}.txt`, text);
  }
}

async function logText(context: Context, pod: MeshPod, tail: string, previous: boolean): Promise<string> {
  const lines: string[] = [];
  let size = 0;
  for await (const line of podLog(context, pod, { follow: false, tail, previous, sinceSeconds: undefined })) {
    size += line.length;
    if (size > MAX_LOG_BYTES) break;
    lines.push(`${line}\n`);
  }
  return lines.join("");
}
