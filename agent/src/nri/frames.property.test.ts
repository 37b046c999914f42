import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeMessage, type Message, MessageReader, PLUGIN_CONNECTION, RUNTIME_CONNECTION } from "./frames.ts";

const message = fc.record({
  connection: fc.constantFrom(PLUGIN_CONNECTION, RUNTIME_CONNECTION),
  stream: fc.nat(0xffffffff),
  type: fc.nat(255),
  payload: fc.uint8Array({ maxLength: 100 }),
});

test("messages come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat(300)), (messages, cuts) => {
      const whole = Buffer.concat(messages.map(encodeMessage));
      const reader = new MessageReader();
      const read: Message[] = [];
      let from = 0;
      for (const cut of [...cuts, whole.length]) {
        const to = Math.min(whole.length, from + cut);
        read.push(...reader.push(whole.subarray(from, to)));
        from = to;
      }
      read.push(...reader.push(whole.subarray(from)));
      expect(read.map((each) => ({ ...each, payload: new Uint8Array(each.payload) }))).toEqual(messages);
    }),
  );
});

test("anything else is refused, or waited for, and costs no more than was sent", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new MessageReader().push(Buffer.from(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
  );
});

test("a frame or message beyond the bound is refused before it has come", () => {
  const header = (...numbers: number[]) =>
    Buffer.concat(numbers.map((each) => Buffer.from(Uint32Array.of(each).buffer).swap32()));
  expect(() => new MessageReader().push(header(1, 0x7fffffff))).toThrow("a frame of 2147483647 bytes");
  expect(() => new MessageReader().push(header(1, 12, 0x7fffffff, 1, 0x01000000))).toThrow(
    "a message of 2147483647 bytes",
  );
  expect(() => new MessageReader().push(header(3, 0))).toThrow("a frame of connection 3");
});
