/** A tc filter of somebody else on a pod's device: peer redirect stands aside for it, as it would on any node. */
import { execFileSync } from "node:child_process";
import type { Stage, StageNode, StagePod } from "../../demo/src/stage.ts";

/** An Ethernet type for local experiments (IEEE 802), which no packet here has: the filter itself does nothing. */
const NO_PACKETS = "0x88b5";

/** Puts the filter on the host's end of the pod's device. It goes with the pod. */
export async function putFilterBeside(stage: Stage, node: StageNode, pod: StagePod): Promise<void> {
  const { stdout } = await stage.exec(pod, ["ip", "-j", "link", "show", "dev", "eth0"]);
  const [link] = JSON.parse(stdout) as { link_index?: number }[];
  // The agent is on its node's network.
  const onNode = ["--net", "--target", String(await node.agentPid())];
  const run = (...argv: string[]): string => execFileSync("nsenter", [...onNode, ...argv], { encoding: "utf8" });
  const links = JSON.parse(run("ip", "-j", "link")) as { ifindex: number; ifname: string }[];
  const device = links.find(({ ifindex }) => ifindex === link?.link_index)?.ifname;
  if (device === undefined) throw new Error(`pod ${pod.name} has no device on ${node.name}`);
  run("tc", "qdisc", "add", "dev", device, "clsact");
  run("tc", "filter", "add", "dev", device, "ingress", "protocol", NO_PACKETS, "u32", "match", "u8", "0", "0");
}
