/** `weft dashboard`: a page of the mesh or of what watches it, on this machine. */
import { spawn } from "node:child_process";
import { joinHostPort } from "#lib/address.ts";
import { PODS } from "#lib/kube/types.ts";
import { ADMIN_PORT } from "../cluster/admin-port.ts";
import { forward, type Target } from "../cluster/forward.ts";
import { agentPods, controlPods, type MeshPod } from "../cluster/mesh-pods.ts";
import { isReady } from "../cluster/pod-state.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { Failure, UsageError } from "../frame/errors.ts";
import { chosenWaypoint } from "../mesh/program.ts";

/** What is watched with: the port, and the path of its first page. Found by the usual labels. */
const ADDONS: Readonly<Record<string, { readonly port: number; readonly path: string }>> = {
  prometheus: { port: 9090, path: "/" },
  grafana: { port: 3000, path: "/" },
  kiali: { port: 20_001, path: "/kiali" },
  jaeger: { port: 16_686, path: "/" },
  zipkin: { port: 9411, path: "/" },
};
const NAME_LABELS = ["app.kubernetes.io/name", "app"];

export const dashboardCommand = command({
  name: "dashboard",
  aliases: ["dash", "d"],
  summary: "make an admin page, or Prometheus and its kind, reachable on this machine",
  description: "Prints the address and goes on until Ctrl-C.",
  cluster: true,
  args: [
    { name: "WHAT", about: `agent, control, waypoint, or ${Object.keys(ADDONS).join(", ")}` },
    { name: "NAME", optional: true, about: "of a waypoint, if the namespace has several" },
  ],
  flags: {
    node: { type: "string", value: "NODE", about: "whose agent (default: the first)" },
    address: { type: "string", value: "IP", about: "where to listen (default: 127.0.0.1)" },
    port: { type: "string", value: "PORT", about: "port on this machine (default: any free one)" },
    browser: { type: "boolean", about: "open it in the browser" },
  },
  examples: [
    ["weft dashboard agent --node node1", "The admin page of one agent"],
    ["weft dashboard waypoint reviews -n shop --port 8080", "Of a waypoint, on a port of your choice"],
    ["weft dash grafana --browser", "Graphs"],
  ],
  run: async (context, { args: [what = "", name], flags }) => {
    const port = Number(flags.port ?? 0);
    if (!(Number.isInteger(port) && port >= 0 && port < 65_536))
      throw new UsageError(`--port ${flags.port}: a port is expected`);
    const host = flags.address ?? "127.0.0.1";
    const { target, path } = await find(context, what, name, flags.node);
    await forward(context, target, { host, port }, (bound) => {
      const url = `http://${joinHostPort(host, bound)}${path}`;
      context.out(`${url}\n`);
      context.note("Ctrl-C ends it.");
      if (flags.browser) openBrowser(context, url);
    });
    return undefined;
  },
});

async function find(context: Context, what: string, name: string | undefined, node: string | undefined) {
  switch (what) {
    case "agent":
    case "ztunnel":
      return admin((await agentPods(context, { node }))[0]);
    case "control":
    case "istiod":
    case "controlz":
      return admin((await controlPods(context))[0]);
    case "waypoint":
    case "proxy":
    case "envoy":
      return admin(await chosenWaypoint(context, name));
  }
  const addon = Object.hasOwn(ADDONS, what) ? ADDONS[what] : undefined;
  if (addon === undefined) {
    throw new UsageError(
      `weft dashboard knows agent, control, waypoint, ${Object.keys(ADDONS).join(", ")}, not "${what}"`,
    );
  }
  return { target: { ...(await addonPod(context, what)), port: addon.port }, path: addon.path };
}

function admin(pod: MeshPod | undefined): { target: Target; path: string } {
  if (pod === undefined) throw new Failure("there is no such pod");
  return { target: { namespace: pod.namespace, name: pod.name, port: ADMIN_PORT }, path: "/" };
}

async function addonPod({ cluster, meshNamespace, givenNamespace, signal }: Context, what: string) {
  const namespace = givenNamespace ?? meshNamespace;
  for (const label of NAME_LABELS) {
    const { items } = await cluster().client.list(PODS, { namespace, labelSelector: `${label}=${what}`, signal });
    const pod = items.find(isReady);
    if (pod !== undefined) return { namespace, name: pod.metadata.name };
  }
  throw new Failure(`there is no ready pod of ${what} in namespace ${namespace}`, "say where it is by --namespace");
}

/** Its failure is not ours: the address is printed. */
function openBrowser({ note }: Context, url: string): void {
  const program = process.platform === "darwin" ? "open" : "xdg-open";
  const child = spawn(program, [url], { stdio: "ignore", detached: true });
  child.on("error", () => note(`no ${program} to open a browser with`));
  child.unref();
}
