/** Joins stdin and stdout with a port on localhost. Run inside a pod's network namespace, once per forwarded connection. */
import net from "node:net";

const socket = net.connect({ host: "localhost", port: Number(process.argv[2]) });
socket.on("connect", () => {
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
});
socket.on("error", (error) => {
  process.stderr.write(error.message);
  process.exit(1);
});
// Whoever forwards has no half-closed connections.
socket.on("close", () => process.exit(0));
process.stdin.on("close", () => process.exit(0));
