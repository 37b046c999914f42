import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { KubeError } from "./errors.ts";
import { connectToPod } from "./port-forward.ts";

/** The kubelet's end: channel 0 has data, channel 1 errors, and each begins with the port's number. */
describe("a forwarded port", () => {
  let server: http.Server;
  let sockets: WebSocketServer;
  let onSocket: (socket: WebSocket) => void;
  beforeEach(async () => {
    sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "v4.channel.k8s.io" });
    server = http.createServer();
    server.on("upgrade", (request, socket, head) => {
      if (request.url === "/api/v1/namespaces/a/pods/forbidden/portforward?ports=80") {
        const body = '{"message":"you may not"}';
        socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        return;
      }
      sockets.handleUpgrade(request, socket, head, (each) => {
        for (const channel of [0, 1]) each.send(Buffer.from([channel, 80, 0]));
        onSocket(each);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(() => {
    sockets.close();
    server.closeAllConnections();
    server.close();
  });

  const connect = (name = "p") => {
    const { port } = server.address() as AddressInfo;
    return connectToPod(
      { server: `http://127.0.0.1:${port}` },
      { namespace: "a", name },
      80,
      AbortSignal.timeout(10_000),
    );
  };

  it("carries bytes both ways, and ends when the pod's end does", async () => {
    onSocket = (socket) => {
      socket.on("message", (message: Buffer) => {
        expect(message[0]).toBe(0);
        socket.send(Buffer.concat([Buffer.from([0]), Buffer.from(message.subarray(1).toString().toUpperCase())]));
        socket.close();
      });
    };
    const stream = await connect();
    stream.write("hello");
    expect(await text(stream)).toBe("HELLO");
  });

  it("keeps what goes wrong at once until somebody looks", async () => {
    onSocket = (socket) => {
      socket.send(Buffer.concat([Buffer.from([1]), Buffer.from("connection refused")]));
      socket.close();
    };
    const stream = await connect();
    if (!stream.destroyed) await once(stream, "close");
    expect(stream.errored).toBeInstanceOf(KubeError);
    expect(stream.errored?.message).toContain("connection refused");
  });

  it("says what the API refuses", async () => {
    const error = await connect("forbidden").catch((each: unknown) => each);
    expect(error).toMatchObject({ status: 403, message: expect.stringContaining("you may not") });
  });
});
