/**
 * A good client: again and again a new connection to argv[2]:argv[3] (an echo), one message there and back. Prints
 * "ok <ms>" or "fail <why>" for each.
 */
import { once } from "node:events";
import { connect } from "node:net";

const PAUSE_MS = 20;
const PATIENCE_MS = 10_000;
const MESSAGE = Buffer.from("is anybody there?");

async function ping(): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const socket = connect({ host: process.argv[2] ?? "", port: Number(process.argv[3]), signal });
  try {
    await once(socket, "connect", { signal });
    socket.write(MESSAGE);
    const [answer] = (await once(socket, "data", { signal })) as [Buffer];
    if (!answer.equals(MESSAGE)) throw new Error(`wrong answer of ${answer.length} bytes`);
  } finally {
    socket.destroy();
  }
}

for (;;) {
  const start = performance.now();
  const said = await ping().then(
    () => `ok ${Math.round(performance.now() - start)}`,
    (error: Error) => `fail ${error.message}`,
  );
  process.stdout.write(`${said}\n`);
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
