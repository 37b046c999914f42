/** Opens argv[4] connections to the greeter at argv[2]:argv[3], some at a time, and prints how many were answered. */
import { connect } from "node:net";

const AT_A_TIME = 8;

const [, , host = "", port = "", count = "0"] = process.argv;
let left = Number(count);
let answered = 0;

function once(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    socket.on("connect", () => socket.write("hush\n"));
    socket.on("data", () => answered++);
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}

async function lane(): Promise<void> {
  while (left-- > 0) await once();
}

await Promise.all(Array.from({ length: AT_A_TIME }, lane));
process.stdout.write(`${JSON.stringify({ answered })}\n`);
