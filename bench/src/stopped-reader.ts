/** What a connection takes from a writer while its reader reads nothing. */
import { eventually } from "#lib/eventually.ts";
import { PORTS, type Sample } from "./loads.ts";
import type { Side } from "./rounds.ts";

const SECONDS = 5;
const SLACK_MS = 20_000;
const WARM_MS = 60_000;

/** Bytes that were taken and not read, once the side's connections to that port take its path. */
export async function stoppedReaderBytes({ client, serverIp, onPath = (round) => round() }: Side): Promise<number> {
  const argv = ["weft-bench-peer", "push", serverIp, String(PORTS.stop), String(SECONDS)];
  const push = async (): Promise<Sample> => {
    const { heldBytes } = JSON.parse(await client(argv, SECONDS * 1000 + SLACK_MS)) as { heldBytes: number };
    return { value: heldBytes, work: heldBytes };
  };
  const { value } = await eventually("the writer to a stopped reader takes its path", () => onPath(push), WARM_MS);
  return value;
}
