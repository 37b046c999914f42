/** Takes tunnels on port 15008, as an agent does, with the certificate of the folder argv[2], and connects to where they lead. */
import { readFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { join } from "node:path";

const HBONE = 15_008;

const read = (name: string) => readFileSync(join(process.argv[2] ?? "", name));
const server = createSecureServer({
  key: read("key.pem"),
  cert: read("cert-chain.pem"),
  ca: read("root-cert.pem"),
  requestCert: true,
  minVersion: "TLSv1.3",
});
server.on("stream", (tunnel: ServerHttp2Stream, headers) => {
  const { hostname, port } = new URL(`tcp://${headers[":authority"]}`);
  const application = connect(Number(port), hostname, () => {
    tunnel.respond({ ":status": 200 });
    tunnel.pipe(application).pipe(tunnel);
  });
  application.on("error", () => tunnel.close());
  tunnel.on("error", () => application.destroy());
});
server.listen(HBONE, "::");
