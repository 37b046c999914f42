/** Connects to argv[2]:argv[3], sends what stdin has, and prints how much came back and how it ended. */
import { connect } from "node:net";

const socket = connect({ host: process.argv[2] ?? "", port: Number(process.argv[3]), allowHalfOpen: true });
let bytes = 0;
let end = "end";
socket.on("data", (chunk) => {
  bytes += chunk.length;
});
socket.on("error", (error: NodeJS.ErrnoException) => {
  end = `error ${error.code}`;
});
socket.on("close", () => process.stdout.write(`${bytes} bytes, ${end}\n`, () => process.exit()));
process.stdin.pipe(socket);
