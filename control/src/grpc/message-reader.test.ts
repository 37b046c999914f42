import fc from "fast-check";
import { expect, it } from "vitest";
import { MessageReader } from "./message-reader.ts";
import { GRPC_STATUS } from "./status.ts";

function framed(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flag);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

it("yields the messages that were sent, however the bytes arrive", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(20)), (sent, cuts) => {
      let rest = Buffer.concat(sent.map((message) => framed(message)));
      const reader = new MessageReader(40);
      const read: Buffer[] = [];
      for (const cut of [...cuts, rest.length]) {
        read.push(...reader.push(rest.subarray(0, cut)));
        rest = rest.subarray(cut);
      }
      expect(read.map((message) => [...message])).toEqual(sent.map((message) => [...message]));
      expect(reader.empty).toBe(true);
    }),
  );
});

it("refuses a message by its prefix, before its bytes have come", () => {
  const code = (bytes: Buffer) => {
    try {
      return [...new MessageReader(40).push(bytes)].length;
    } catch (error) {
      return (error as { code: number }).code;
    }
  };
  expect(code(framed(Buffer.alloc(41)).subarray(0, 5))).toBe(GRPC_STATUS.RESOURCE_EXHAUSTED);
  expect(code(framed(Buffer.alloc(4), 1).subarray(0, 5))).toBe(GRPC_STATUS.UNIMPLEMENTED);
  expect(code(framed(Buffer.alloc(40)))).toBe(1);
});
