/** The act of the direct path: two pods of one node, and nobody between them. */
import { eventually } from "#lib/eventually.ts";
import type { AccessLine } from "./access-log.ts";
import { must } from "./claims.ts";
import { shortIdentity } from "./conversations.ts";
import { answers } from "./shopping.ts";
import type { Stage, StagePod } from "./stage.ts";
import type { Cast, StoryOptions } from "./story.ts";

const PORT = 9080;
const SETTLE_MS = 20_000;
const AGENT_MS = 60_000;

/** Asks on one connection until it is killed: a line "answer" for each answer, and one that says why it ended. */
const KEEP_ASKING = `const socket = require("node:net").connect(${PORT}, process.argv[1]);
const ask = () => socket.write("GET /healthz/live HTTP/1.1\\r\\nHost: neighbour\\r\\n\\r\\n");
socket.on("connect", ask);
socket.on("data", () => { console.log("answer"); setTimeout(ask, 50); });
socket.on("error", (error) => console.log("ended: " + error.message));
socket.on("close", () => console.log("ended"));`;

export async function direct({ stage, claims, say, layout }: StoryOptions, cast: Cast): Promise<void> {
  say(layout.heading("Two pods of one node: identity and policy in the kernel, and no proxy in the way"));
  const { shopper } = cast;
  const neighbour = cast.bookinfo.find(({ node }) => node === shopper.node);
  const node = stage.nodes.find(({ name }) => name === shopper.node);
  if (neighbour === undefined || node === undefined) throw new Error(`shopper has no neighbour on ${shopper.node}`);
  const url = `http://${neighbour.ip}:${PORT}/healthz/live`;
  await eventually(
    "the agent has decided",
    async () => (await directLine(stage, shopper, neighbour, url)) !== undefined,
    SETTLE_MS,
  );
  const asking = await stage.start(shopper, [process.execPath, "-e", KEEP_ASKING, neighbour.ip]);
  let said = "";
  asking.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const answered = (): number => said.split("answer").length - 1;
  try {
    await eventually("an answer", () => answered() > 0, SETTLE_MS);
    await claims.check(`shopper and ${neighbour.labels.app} share one TCP connection: no agent at either end`, () =>
      sameConnection(stage, shopper, neighbour),
    );
    await claims.check("the access log names both identities, and how it knows them", async () => {
      const line = await eventually("a line", () => directLine(stage, shopper, neighbour, url), SETTLE_MS);
      const [from, to] = [shortIdentity(line.source.identity), shortIdentity(line.destination.identity)];
      must(from !== "" && to !== "", "it does not");
      return `${from} → ${to}, ${line.security}`;
    });
    const before = answered();
    const agent = await node.agentPid();
    process.kill(agent, "SIGKILL");
    await claims.check("kill -9 of the node's agent disturbs neither this connection nor new ones", async () => {
      must(await answers(stage, shopper, url), "a new connection was not answered while no agent ran");
      await eventually("the connection goes on", () => answered() > before + 10, SETTLE_MS);
      await eventually("the next agent runs", async () => (await node.agentPid()) !== agent, AGENT_MS);
      must(!said.includes("ended"), said.split("\n").find((line) => line.startsWith("ended")) ?? "it ended");
      return `${answered()} answers on one connection, agent ${agent} is dead`;
    });
  } finally {
    asking.kill("SIGKILL");
  }
  const anywhere = cast.bookinfo.find((pod) => pod.node !== shopper.node);
  await eventually(
    "the next agent carries tunnels",
    () => answers(stage, shopper, `http://${anywhere?.ip}:${PORT}/healthz/live`),
    AGENT_MS,
  );
}

/** Both pods' socket tables show the same two ends. */
async function sameConnection(stage: Stage, from: StagePod, to: StagePod): Promise<string> {
  const sockets = async (pod: StagePod, peer: StagePod): Promise<string[][]> => {
    const { stdout } = await stage.exec(pod, ["ss", "-tnH", "state", "established", "dst", peer.ip]);
    return stdout
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/).slice(-2).map(plain));
  };
  const [near, far] = [await sockets(from, to), await sockets(to, from)];
  const shared = near
    .filter(([, remote]) => remote?.endsWith(`:${PORT}`))
    .find(([local, remote]) => far.some(([a, b]) => a === remote && b === local));
  must(shared !== undefined, `shopper has ${JSON.stringify(near)}, ${to.name} has ${JSON.stringify(far)}`);
  return shared.join(" → ");
}

/** `[::ffff:10.64.1.2]:80` of a dual-stack socket as `10.64.1.2:80`. */
function plain(address: string): string {
  return address.replace(/^\[::ffff:(.*)\]/, "$1");
}

/** Dials once, and returns a line of the log that tells of such a direct connection when there is one. */
async function directLine(stage: Stage, from: StagePod, to: StagePod, url: string): Promise<AccessLine | undefined> {
  await answers(stage, from, url);
  const lines = (await Promise.all(stage.nodes.map((node) => node.accessLog()))).flat();
  return lines.find(
    (line) => line.direction === "direct" && line.source.pod === from.name && line.destination.pod === to.name,
  );
}
