/** Process of the fabric's namespace: the API server with its controllers, and the cluster's DNS. */
import net from "node:net";
import { API_PORT, type FabricConfig, type FromProcess, readConfig, type ToProcess } from "../config.ts";
import { networkPlan } from "../network/plan.ts";
import { DNS_PORT } from "./bootstrap.ts";
import { Cluster, kubeletSocket } from "./cluster.ts";

const config = readConfig<FabricConfig>(process.argv[2]);
const tell = (message: FromProcess) => process.send?.(message);
const cluster = new Cluster({ ...config, kubeletSocket: (node) => kubeletSocket(config.stateDir, node) }, (message) =>
  tell({ kind: "report", message }),
);
process.on("message", (message: ToProcess, handle: unknown) => {
  if (message.kind === "serve-api" && handle instanceof net.Server) cluster.serve(handle);
});
// Without the playground there is nobody to end us.
process.on("disconnect", () => process.exit(0));

const plan = networkPlan(config.index);
await cluster.listen({ host: "::", port: API_PORT });
await cluster.listenDns([plan.fabric.v4, plan.fabric.v6], DNS_PORT);
tell({ kind: "ready" });
