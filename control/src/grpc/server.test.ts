/** The server with a client of another make (grpc-js) and with bare HTTP/2. */
import { once } from "node:events";
import http2 from "node:http2";
import { toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { TestCa } from "../../../test/helpers/pki.ts";
import { TcpSwitch } from "../../../test/helpers/tcp-switch.ts";
import { deflatePiece, storedPiece, zlibStream } from "../xds/joined-deflate.ts";
import type { GrpcCall } from "./call.ts";
import { CONNECTION_LIMITS, type ConnectionLimits } from "./connection.ts";
import { GrpcServer } from "./server.ts";
import { GRPC_STATUS } from "./status.ts";

const MAX_REQUEST_BYTES = 1_000;
const METHOD = "/weft.Test/Talk";

let ca: TestCa;
let server: GrpcServer;
let port: number;
let client: grpc.Client;
/** What the method does with a call. */
let serve: (call: GrpcCall) => void;
let calls: GrpcCall[];

beforeEach(async () => {
  ca = await TestCa.create();
  calls = [];
  await listen();
});
afterEach(async () => {
  client.close();
  await server.close();
});

async function listen(connections: ConnectionLimits = CONNECTION_LIMITS): Promise<void> {
  const { chain, key } = await ca.issue("", { uris: [], dnsNames: ["localhost"] });
  server = new GrpcServer({
    context: { cert: chain, key },
    methods: new Map([
      [
        METHOD,
        (call) => {
          calls.push(call);
          serve(call);
        },
      ],
    ]),
    maxRequestBytes: MAX_REQUEST_BYTES,
    connections,
  });
  port = await server.listen("127.0.0.1", 0);
  connect(port);
}

function connect(to: number): void {
  client = new grpc.Client(`localhost:${to}`, grpc.credentials.createSsl(Buffer.from(ca.root)), {
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
  });
}

/** Other limits than in use, for the test that asks for them. */
async function relisten(limits: Partial<ConnectionLimits>): Promise<void> {
  client.close();
  await server.close();
  await listen({ ...CONNECTION_LIMITS, ...limits });
}

const text = (value: string) =>
  Buffer.from(toBinary(StringValueSchema, { $typeName: "google.protobuf.StringValue", value }));

interface Talk {
  readonly stream: grpc.ClientDuplexStream<Buffer, Buffer>;
  readonly received: Buffer[];
  status: grpc.StatusObject | undefined;
}

function talk(method = METHOD): Talk {
  const raw = (bytes: Buffer) => bytes;
  const made: Talk = {
    stream: client.makeBidiStreamRequest(method, raw, raw, new grpc.Metadata()),
    received: [],
    status: undefined,
  };
  made.stream.on("data", (bytes: Buffer) => made.received.push(bytes));
  made.stream.on("error", () => undefined);
  made.stream.on("status", (status) => {
    made.status = status;
  });
  return made;
}

const endOf = (each: Talk) => eventually("the end of the call", () => each.status);

it("answers each message, and ends when the client does", async () => {
  serve = (call) =>
    call.read(StringValueSchema, {
      message: ({ value }) => call.write({ parts: [Buffer.from(value), Buffer.from("!")], deflated: false }),
      end: () => call.end(GRPC_STATUS.OK),
    });
  const one = talk();
  for (const word of ["one", "two"]) one.stream.write(text(word));
  one.stream.end();
  expect((await endOf(one)).code).toBe(GRPC_STATUS.OK);
  expect(one.received.map(String)).toEqual(["one!", "two!"]);
});

it("sends megabytes deflated from shared pieces beside plain ones, and the client reads both", async () => {
  const large = Buffer.alloc(8_000_000, "all the same ");
  const piece = deflatePiece(large);
  serve = (call) => {
    expect(call.takesDeflate).toBe(true);
    call.write({ parts: zlibStream([storedPiece(Buffer.from("head")), piece]), deflated: true });
    call.write({ parts: [Buffer.from("head"), large], deflated: false });
    call.end(GRPC_STATUS.OK);
  };
  const one = talk();
  expect((await endOf(one)).code).toBe(GRPC_STATUS.OK);
  const whole = Buffer.concat([Buffer.from("head"), large]);
  expect(one.received.map((each) => each.equals(whole))).toEqual([true, true]);
});

it("says why it ends a call, before and after a message", async () => {
  serve = (call) => call.end(GRPC_STATUS.PERMISSION_DENIED, "not you: ä");
  expect(await endOf(talk())).toMatchObject({ code: GRPC_STATUS.PERMISSION_DENIED, details: "not you: ä" });
  serve = (call) => {
    call.write({ parts: [Buffer.from("x")], deflated: false });
    call.end(GRPC_STATUS.UNAVAILABLE, "later");
  };
  expect(await endOf(talk())).toMatchObject({ code: GRPC_STATUS.UNAVAILABLE, details: "later" });
});

it("refuses methods that are not there, requests that are too large, and what is no request", async () => {
  serve = (call) => call.read(StringValueSchema, { message: () => undefined, end: () => undefined });
  expect((await endOf(talk("/weft.Test/Nothing"))).code).toBe(GRPC_STATUS.UNIMPLEMENTED);
  const large = talk();
  large.stream.write(Buffer.alloc(MAX_REQUEST_BYTES + 1));
  expect((await endOf(large)).code).toBe(GRPC_STATUS.RESOURCE_EXHAUSTED);
  const broken = talk();
  broken.stream.write(Buffer.from([0xff, 0xff]));
  expect((await endOf(broken)).code).toBe(GRPC_STATUS.INVALID_ARGUMENT);
});

it("answers what is no gRPC with 415, and half a message as such", async () => {
  serve = (call) => call.read(StringValueSchema, { message: () => undefined, end: () => undefined });
  const session = http2.connect(`https://localhost:${port}`, { ca: ca.root });
  const plain = session.request({ ":path": METHOD });
  const [refused] = (await once(plain, "response")) as [http2.IncomingHttpHeaders];
  expect(refused[":status"]).toBe(415);
  const half = session.request({ ":method": "POST", ":path": METHOD, "content-type": "application/grpc" });
  half.end(Buffer.from([0, 0, 0, 0, 9, 1]));
  const [answered] = (await once(half, "response")) as [http2.IncomingHttpHeaders];
  expect(answered["grpc-status"]).toBe(String(GRPC_STATUS.INVALID_ARGUMENT));
  session.destroy();
});

it("tells of a call's end once, whoever ends it, and of what was not taken", async () => {
  let ends = 0;
  serve = (call) => {
    call.onClose(() => ends++);
    call.write({ parts: [Buffer.from("x")], deflated: false });
  };
  const one = talk();
  await eventually("the message", () => one.received.length > 0);
  one.stream.cancel();
  await eventually("the end", () => ends > 0);
  const [call] = calls;
  const error = await new Promise((resolve) => call?.write({ parts: [Buffer.from("y")], deflated: false }, resolve));
  expect(error).toBeInstanceOf(Error);
  call?.end(GRPC_STATUS.OK);
  expect(ends).toBe(1);
});

it("lets what is under way end when it closes, and cuts what does not", async () => {
  serve = (call) => {
    call.write({ parts: [Buffer.from("x")], deflated: false });
  };
  const [ending, lasting] = [talk(), talk()];
  await eventually("both calls", () => ending.received.length + lasting.received.length === 2);
  const closed = server.close();
  calls[0]?.end(GRPC_STATUS.OK);
  expect((await endOf(ending)).code).toBe(GRPC_STATUS.OK);
  await closed;
  expect((await endOf(lasting)).code).not.toBe(GRPC_STATUS.OK);
});

it("sends clients elsewhere when their connection is old: what is open has a grace, what is new another connection", async () => {
  await relisten({ maxAgeMs: 300, graceMs: 300 });
  serve = (call) => call.write({ parts: [Buffer.from("x")], deflated: false });
  const old = talk();
  await eventually("a message", () => old.received.length > 0);
  expect((await endOf(old)).code).toBe(GRPC_STATUS.UNAVAILABLE);
  const next = talk();
  await eventually("a message", () => next.received.length > 0);
  expect(new Set(calls.map(({ peer }) => peer)).size).toBe(2);
});

it("lets go of a client that is there no more, though nobody said so", async () => {
  await relisten({ keepaliveMs: 200, keepaliveTimeoutMs: 200 });
  const way = await TcpSwitch.start(port);
  client.close();
  connect(way.port);
  try {
    let ended = false;
    serve = (call) => {
      call.onClose(() => {
        ended = true;
      });
      call.write({ parts: [Buffer.from("x")], deflated: false });
    };
    const one = talk();
    await eventually("a message", () => one.received.length > 0);
    way.hold();
    await eventually("the end of the call", () => ended);
  } finally {
    await way.stop();
  }
});
