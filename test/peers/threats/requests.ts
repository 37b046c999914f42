/** Members of the mesh that ask for what they must not have. */
import { connect } from "node:net";
import { expect } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { Reason } from "#lib/reasons.ts";
import { FLAG, FRAME, frame, type Header, hpack, type RawH2 } from "../../helpers/h2-raw.ts";
import { type Arena, ECHO_PORT, RECORDER_PORT, type Threat } from "./threat.ts";

/** Status codes as ambient's wire has them. */
const BAD_REQUEST = 400;
const DENIED = 401;
const UNAVAILABLE = 503;
const PROTOCOL_ERROR = 1;

export const requestThreats: readonly Threat[] = [
  authority("the address of another pod", ({ bystander }) => `${bystander.ip}:${ECHO_PORT}`, "bad_authority"),
  authority(
    "the address of another pod over IPv6",
    ({ bystander }) => `[${bystander.ip6}]:${ECHO_PORT}`,
    "bad_authority",
  ),
  authority("the node", ({ mesh }) => `${mesh.bed.hostIp}:${ECHO_PORT}`, "bad_authority"),
  authority("127.0.0.1", () => `127.0.0.1:${ECHO_PORT}`, "bad_authority"),
  authority("::1", () => `[::1]:${ECHO_PORT}`, "bad_authority"),
  authority("0.0.0.0", () => `0.0.0.0:${ECHO_PORT}`, "bad_authority"),
  authority("a link-local metadata service", () => "169.254.169.254:80", "bad_authority"),
  authority("a name that is not this pod's", () => `localhost:${ECHO_PORT}`, "bad_authority"),
  authority("a name that looks like an address", ({ victim }) => `${victim.ip}.evil:${ECHO_PORT}`, "bad_authority"),
  authority("an address with a user", ({ victim }) => `a@${victim.ip}:${ECHO_PORT}`, "bad_authority"),
  authority("a scoped IPv6 address", ({ victim }) => `[${victim.ip6}%eth0]:${ECHO_PORT}`, "bad_authority"),
  authority("no port", ({ victim }) => victim.ip, "bad_authority"),
  authority("port 0", ({ victim }) => `${victim.ip}:0`, "bad_authority"),
  authority("port 65536", ({ victim }) => `${victim.ip}:65536`, "bad_authority"),
  authority("a signed port", ({ victim }) => `${victim.ip}:+${ECHO_PORT}`, "bad_authority"),
  authority("two ports", ({ victim }) => `${victim.ip}:${ECHO_PORT}:${ECHO_PORT}`, "bad_authority"),
  authority("a path behind the port", ({ victim }) => `${victim.ip}:${ECHO_PORT}/x`, "bad_authority"),
  authority("our outbound port", ({ victim }) => `${victim.ip}:15001`, "reserved_port"),
  authority("our plaintext inbound port", ({ victim }) => `${victim.ip}:15006`, "reserved_port"),
  authority("our HBONE port", ({ victim }) => `${victim.ip}:15008`, "reserved_port"),

  request("GET", ({ victim }) => [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
  ]),
  request("a method in lower case", ({ victim }) => [
    [":method", "connect"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
  ]),
  request("CONNECT with scheme and path", ({ victim }) => [
    [":method", "CONNECT"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
  ]),
  request("extended CONNECT", ({ victim }) => [
    [":method", "CONNECT"],
    [":protocol", "websocket"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
  ]),
  request("CONNECT without authority", () => [[":method", "CONNECT"]]),
  request("two authorities", ({ victim, bystander }) => [
    [":method", "CONNECT"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
    [":authority", `${bystander.ip}:${ECHO_PORT}`],
  ]),
  request("an authority of 60,000 bytes", () => [
    [":method", "CONNECT"],
    [":authority", `${"a".repeat(60_000)}:80`],
  ]),
  request("a Host instead of an authority", ({ victim }) => [
    [":method", "CONNECT"],
    ["host", `${victim.ip}:${ECHO_PORT}`],
  ]),
  request("an upper-case header name", ({ victim }) => [
    [":method", "CONNECT"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
    ["Baggage", "a=b"],
  ]),
  request("a NUL in a header", ({ victim }) => [
    [":method", "CONNECT"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
    ["baggage", "a\0b"],
  ]),
  request("a line break in a header", ({ victim }) => [
    [":method", "CONNECT"],
    [":authority", `${victim.ip}:${ECHO_PORT}`],
    ["baggage", "a\r\nx: y"],
  ]),
  request("a NUL in the authority", ({ victim }) => [
    [":method", "CONNECT"],
    [":authority", `${victim.ip}\0:${ECHO_PORT}`],
  ]),

  {
    class: "Upgrade smuggling",
    name: "data before acceptance never reaches an application that the policy closes",
    counted: ["policy_denied"],
    attack: async (arena) => {
      const { mesh, victim } = arena;
      const rules = [[[{ ...NO_CONDITION, destinationPorts: [RECORDER_PORT] }]]];
      await mesh.engine.apply([
        { op: "set-policy", name: "default/close", policy: { action: "deny", dryRun: false, rules } },
        { op: "set-pod-policies", pod: victim.id, policies: ["default/close"] },
      ]);
      const raw = await arena.dial();
      const stream = raw.connectTo(`${victim.ip}:${RECORDER_PORT}`);
      raw.send(frame(FRAME.DATA, 0, stream, Buffer.from("let me in")));
      expect(await raw.status(stream)).toBe(DENIED);
      raw.destroy();
      await mesh.engine.apply([
        { op: "set-pod-policies", pod: victim.id, policies: [] },
        { op: "remove-policy", name: "default/close" },
      ]);
      expect(arena.recorded()).toBe("");
    },
  },
  {
    class: "Redirect escape",
    name: "our own ports, dialled from outside",
    counted: ["no_original_dst", "reserved_port", "loop"],
    times: 2,
    attack: async ({ victim }) => {
      for (const port of [15001, 15006]) {
        const socket = connect({ host: victim.ip, port });
        let answer = "";
        socket.on("error", () => {});
        socket.on("data", (chunk) => {
          answer += chunk;
        });
        socket.write("GET / HTTP/1.0\r\n\r\n");
        await eventually("the port to close", () => socket.closed, 10_000);
        expect(answer).toBe("");
      }
    },
  },
];

const NO_CONDITION = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

/** A CONNECT that is answered with an error; the connection lives on and a proper CONNECT works. */
function authority(name: string, value: (arena: Arena) => string, reason: Reason): Threat {
  return {
    class: "Host and authority",
    name: `CONNECT to ${name}`,
    counted: [reason],
    attack: async (arena) => {
      const raw = await arena.dial();
      const status = await raw.status(raw.connectTo(value(arena)));
      expect([BAD_REQUEST, UNAVAILABLE]).toContain(status);
      if (reason === "reserved_port") expect(status).toBe(UNAVAILABLE);
      await stillWorks(raw, arena);
      raw.destroy();
    },
  };
}

/** A request that is answered with 400 or reset as malformed; the connection lives on. */
function request(name: string, list: (arena: Arena) => readonly Header[]): Threat {
  return {
    class: "CONNECT handling",
    name,
    counted: ["not_connect", "bad_authority", "protocol_error"],
    attack: async (arena) => {
      const raw = await arena.dial();
      const stream = raw.nextStream();
      // In pieces of the smallest frame that a server may insist on.
      const block = hpack(list(arena));
      const pieces = Array.from({ length: Math.ceil(block.length / 16_384) }, (_, i) =>
        block.subarray(i * 16_384, (i + 1) * 16_384),
      );
      for (const [i, piece] of pieces.entries()) {
        const flags = i === pieces.length - 1 ? FLAG.END_HEADERS : 0;
        raw.send(frame(i === 0 ? FRAME.HEADERS : FRAME.CONTINUATION, flags, stream, piece));
      }
      const answer = await eventually("a refusal", () => raw.frames.find((f) => f.stream === stream), 15_000);
      // A refusal of our own is complete before the request is: RST_STREAM with NO_ERROR may follow it.
      if (answer.type === FRAME.HEADERS) expect(await raw.status(stream)).toBe(BAD_REQUEST);
      else expect(raw.errorCode(stream), raw.describe()).toBe(PROTOCOL_ERROR);
      await stillWorks(raw, arena);
      raw.destroy();
    },
  };
}

async function stillWorks(raw: RawH2, { victim }: Arena): Promise<void> {
  const stream = raw.connectTo(`${victim.ip}:${ECHO_PORT}`);
  expect(await raw.status(stream), raw.describe()).toBe(200);
  raw.send(frame(FRAME.DATA, FLAG.END_STREAM, stream, Buffer.from("hello")));
  await eventually("the echo", () => raw.data(stream).toString() === "hellobye");
}
