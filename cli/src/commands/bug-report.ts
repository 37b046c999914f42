/** `weft bug-report`: one file with what somebody needs who is to help. */
import { VERSION } from "#lib/version.ts";
import { agentPods, controlPods, waypointPods } from "../cluster/mesh-pods.ts";
import { command } from "../frame/command.ts";
import { EXIT, UsageError } from "../frame/errors.ts";
import { Archive } from "../report/archive.ts";
import { collectCluster } from "../report/cluster-part.ts";
import { collectPod, type PartOfMesh } from "../report/mesh-part.ts";

const DEFAULT_TAIL = "5000";

export const bugReportCommand = command({
  name: "bug-report",
  summary: "collect logs, configuration and versions in one archive, without secrets",
  description:
    "What each process knows and counts, its logs, the mesh's objects, and what could not be had (missing.txt). Secrets are never read; private keys, tokens, passwords and authorization headers are taken out of everything else. Look through it all the same before you give it away: names, addresses and paths of your applications are in it.",
  cluster: true,
  flags: {
    "output-file": {
      type: "string",
      value: "FILE",
      about: "where to write it (default: weft-bug-report-<time>.tar.gz)",
    },
    tail: { type: "string", value: "LINES", about: `last lines of each log (default: ${DEFAULT_TAIL})` },
  },
  examples: [
    ["weft bug-report", "Into a file of this folder"],
    ["weft bug-report --tail 100000 --output-file /tmp/report.tar.gz", "More of the logs, elsewhere"],
  ],
  run: async (context, { flags }) => {
    const { tail = DEFAULT_TAIL } = flags;
    if (!/^[1-9]\d{0,6}$/.test(tail)) throw new UsageError(`--tail ${tail}: a number of lines is expected`);
    const name = `weft-bug-report-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}`;
    const file = flags["output-file"] ?? `${name}.tar.gz`;
    const parts: readonly PartOfMesh[] = [
      { kind: "control", pods: await controlPods(context) },
      { kind: "agents", pods: await agentPods(context) },
      { kind: "waypoints", pods: await waypointPods(context, undefined) },
    ];
    const archive = await Archive.create(name);
    try {
      context.progress("reading the cluster");
      const missing = await collectCluster(context, archive);
      for (const { kind, pods } of parts) {
        for (const [i, pod] of pods.entries()) {
          context.progress(`reading ${kind}, ${i + 1} of ${pods.length}`);
          missing.push(...(await collectPod(context, archive, kind, pod, tail)));
        }
      }
      await archive.json("client.json", { version: VERSION, node: process.version, platform: process.platform });
      await archive.text("missing.txt", missing.map((line) => `${line}\n`).join(""));
      await archive.pack(file);
      context.out(`${file}\n`);
      if (missing.length > 0) context.note(`${missing.length} things could not be had; missing.txt in it says which`);
      return EXIT.done;
    } finally {
      await archive.remove();
    }
  },
});
