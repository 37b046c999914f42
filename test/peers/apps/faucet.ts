/** TCP server on argv[2] that writes as fast as it is read and reads nothing. */
import { createServer } from "node:net";

const DROP = Buffer.alloc(65_536);

createServer((socket) => {
  const pour = (): void => {
    while (socket.write(DROP));
  };
  socket.on("drain", pour);
  socket.on("error", () => socket.destroy());
  socket.pause();
  pour();
}).listen(Number(process.argv[2]), "::");
