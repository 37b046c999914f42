/** The proxy that one writes with Node's http in ten lines: `node node-proxy.ts PORT UPSTREAM_PORT`. */
import { Agent, createServer, request } from "node:http";
import { pipeline } from "node:stream";

const [port, upstream] = process.argv.slice(2).map(Number);
const agent = new Agent({ keepAlive: true });

createServer((incoming, outgoing) => {
  const { method, url, headers } = incoming;
  const onward = request({ host: "127.0.0.1", port: upstream, method, path: url, headers, agent }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, outgoing, () => undefined);
  });
  onward.once("error", () => outgoing.destroy());
  pipeline(incoming, onward, () => undefined);
}).listen(port, "127.0.0.1");
