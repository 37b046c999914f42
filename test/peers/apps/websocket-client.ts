/** Sends messages of many sizes to ws://argv[2] with the WebSocket that Node ships; prints how many came back equal. */
import { once } from "node:events";

const SIZES = [0, 1, 125, 126, 65_535, 65_536, 1_000_000];

const socket = new WebSocket(`ws://${process.argv[2]}/`);
socket.binaryType = "arraybuffer";
await once(socket, "open");
let equal = 0;
for (const size of SIZES) {
  const message = Buffer.alloc(size, size % 251);
  socket.send(message);
  const [event] = (await once(socket, "message")) as [{ readonly data: ArrayBuffer }];
  if (message.equals(Buffer.from(event.data))) equal++;
}
socket.close();
await once(socket, "close");
process.stdout.write(`${equal}/${SIZES.length}\n`);
