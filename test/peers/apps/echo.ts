/** TCP echo on argv[2]; answers "bye" to a half-close, so that both directions are seen to end on their own. */
import { createServer } from "node:net";

createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("end", () => socket.end("bye"));
  socket.on("error", () => socket.destroy());
  socket.pipe(socket, { end: false });
}).listen(Number(process.argv[2]), "::");
