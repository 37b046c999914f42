/**
 * Opens argv[5] connections to the echo at argv[2]:argv[3] at once, sends argv[4] bytes on each, half-closes, and
 * compares what comes back with what went. Prints how many were right.
 */
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";

const [host = "", port, bytes, connections] = process.argv.slice(2);

async function exchange(seed: number): Promise<boolean> {
  const sent = Buffer.alloc(Number(bytes), `${seed} potatoes,`);
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  socket.end(sent);
  const received = await buffer(socket);
  return received.equals(Buffer.concat([sent, Buffer.from("bye")]));
}

const results = await Promise.allSettled(Array.from({ length: Number(connections) }, (_, i) => exchange(i)));
const right = results.filter((result) => result.status === "fulfilled" && result.value).length;
process.stdout.write(`${right}/${connections}\n`);
