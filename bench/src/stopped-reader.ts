/** What a connection takes from a writer while its reader reads nothing. */
import type { BenchPods } from "./bench-pods.ts";
import { PORTS } from "./loads.ts";

const SECONDS = 5;
const SLACK_MS = 20_000;

/** Bytes that were taken and not read, of a connection that was at full speed before. */
export async function stoppedReaderBytes({ client, near }: BenchPods): Promise<number> {
  const argv = ["weft-bench-peer", "push", near.serverIp, String(PORTS.stop), String(SECONDS)];
  const { heldBytes } = JSON.parse(await client(argv, SECONDS * 1000 + SLACK_MS)) as { heldBytes: number };
  return heldBytes;
}
