/** Plays ping-pong over one bidirectional stream to argv[2], argv[3] times; prints the number of equal answers. */
import { once } from "node:events";
import { Client, credentials } from "@grpc/grpc-js";
import { chat } from "./grpc-service.ts";

const client = new Client(process.argv[2] ?? "", credentials.createInsecure());
const call = client.makeBidiStreamRequest(chat.path, chat.requestSerialize, chat.responseDeserialize);
const rounds = Number(process.argv[3]);
let equal = 0;
for (let i = 0; i < rounds; i++) {
  const message = Buffer.alloc(1 + ((i * 977) % 20_000), i);
  call.write(message);
  const [answer] = (await once(call, "data")) as [Buffer];
  if (message.equals(answer)) equal++;
}
call.end();
await once(call, "status");
client.close();
process.stdout.write(`${equal}/${rounds}\n`);
