/** Node's stock HTTP client: posts bodies and compares what comes back. Arguments: URL SIZE... */
import { randomBytes } from "node:crypto";
import { Agent, request } from "node:http";

const [url = "", ...sizes] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function post(body: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", agent, headers: { "content-length": body.length } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

for (const size of sizes) {
  const body = randomBytes(Number(size));
  if (!(await post(body)).equals(body)) throw new Error(`another body came back for ${size} bytes`);
}
agent.destroy();
process.stdout.write("ok\n");
