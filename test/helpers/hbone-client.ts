/** An HBONE client made of Node's own TLS and HTTP/2. */
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import type { Duplex } from "node:stream";
import { connect as tlsConnect } from "node:tls";
import type { Svid } from "./pki.ts";

/** As agents have it: on a busy machine, each turn of a small window takes its time. */
const WINDOW_BYTES = 1024 * 1024;

export class HboneClient {
  readonly session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
  }

  static async connect(port: number, svid: Svid, root: string): Promise<HboneClient> {
    const socket = tlsConnect({
      host: "127.0.0.1",
      port,
      cert: svid.chain,
      key: svid.key,
      ca: root,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
      // The server's name is its SPIFFE id, which is not what TLS clients look for.
      checkServerIdentity: () => undefined,
    });
    await once(socket, "secureConnect");
    const settings = { initialWindowSize: WINDOW_BYTES };
    const session = connect("https://waypoint", { createConnection: () => socket, settings });
    session.on("error", () => undefined);
    session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
    return new HboneClient(session);
  }

  /** A stream to `authority`; the status when it is not 200. */
  async open(authority: string): Promise<Duplex | number> {
    const stream = this.session.request({ ":method": "CONNECT", ":authority": authority });
    stream.on("error", () => undefined);
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    const status = Number(headers[":status"]);
    return status === 200 ? stream : status;
  }

  close(): void {
    this.session.destroy();
  }
}
