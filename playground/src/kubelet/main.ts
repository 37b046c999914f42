/** Process of one node: its kubelet, in the node's network namespace and cgroup. */
import net from "node:net";
import { type FromProcess, type KubeletConfig, readConfig, type ToProcess } from "../config.ts";
import { Kubelet } from "./kubelet.ts";

const config = readConfig<KubeletConfig>(process.argv[2]);
const tell = (message: FromProcess) => process.send?.(message);
const kubelet = new Kubelet(config, (message) => tell({ kind: "report", message }));

process.on("message", (message: ToProcess, handle: unknown) => {
  if (message.kind === "forward" && handle instanceof net.Server) forward(handle, message.host, message.port);
});
// Without the playground nobody watches over the pods.
process.on("disconnect", () => void kubelet.stop().finally(() => process.exit(0)));

await kubelet.start();
tell({ kind: "ready" });

/** The listener is in the machine's network, the connections that answer it in this node's. */
function forward(listener: net.Server, host: string, port: number): void {
  listener.on("connection", (client) => {
    const target = net.connect({ host, port });
    client.on("error", () => target.destroy());
    target.on("error", () => client.destroy());
    client.on("close", () => target.destroy());
    target.on("close", () => client.destroy());
    client.pipe(target).pipe(client);
  });
}
