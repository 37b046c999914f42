import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { directEvents } from "../../../test/helpers/direct-event.ts";
import { EVENT_BYTES, EVENT_DENIED, EVENT_OPEN, EventCursor, FIELD } from "./event-decoder.ts";

const INCLUDE = fileURLToPath(new URL("../../../bpf/include", import.meta.url));

/** The fields' names in C, where they are not the same with other letters. */
const IN_C: Readonly<Record<string, string>> = { srcNetns: "src_netns", dstNetns: "dst_netns" };

test("size and offsets are those of struct weft_event", () => {
  const folder = mkdtempSync(`${tmpdir()}/weft-layout-`);
  try {
    const names = Object.keys(FIELD);
    const fields = names.map((name) => IN_C[name] ?? name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    const numbers = ["sizeof(struct weft_event)", ...fields.map((field) => `offsetof(struct weft_event, ${field})`)];
    const program = `#include <stddef.h>
      #include <stdio.h>
      #include "weft_abi.h"
      int main(void) { ${numbers.map((number) => `printf("%zu ", ${number});`).join("")} return 0; }`;
    writeFileSync(`${folder}/layout.c`, program);
    execFileSync("gcc", ["-I", INCLUDE, "-o", `${folder}/layout`, `${folder}/layout.c`]);
    const [size, ...offsets] = execFileSync(`${folder}/layout`, { encoding: "utf8" }).trim().split(" ").map(Number);
    expect(size).toBe(EVENT_BYTES);
    expect(Object.fromEntries(names.map((name, index) => [name, offsets[index]]))).toEqual(FIELD);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("bytes as the kernel writes them are read field by field", () => {
  // Written down by hand, so that reader and writer cannot share a mistake.
  const bytes = Buffer.alloc(EVENT_BYTES);
  bytes.writeUInt32LE(2, 0); // closed
  bytes.writeUInt32LE(1, 4); // direct
  bytes.writeBigUInt64LE(0xfedc_ba98_7654_3210n, 8);
  bytes.writeBigUInt64LE(4098n, 16);
  bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 244, 1, 7], 24);
  bytes.writeUInt16LE(54_321, 40);
  bytes.set([0xfd, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10], 48);
  bytes.writeUInt16LE(80, 64);
  bytes.set([0xfd, 0, 0, 0x43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 72);
  bytes.writeUInt16LE(8080, 88);
  bytes.writeBigUInt64LE(5_000_000_000_000_001n, 96);
  bytes.writeBigUInt64LE(5_000_012_500_000_001n, 104);
  bytes.writeBigUInt64LE(2n ** 40n + 3n, 112);
  bytes.writeBigUInt64LE(17n, 120);
  bytes.writeUInt32LE(250, 128);
  bytes.writeUInt32LE(3, 132);
  bytes.writeUInt32LE(42, 136);
  bytes.writeUInt32LE(21, 140);
  bytes.writeUInt32LE(5, 144);
  const event = new EventCursor(bytes);
  expect(event.next()).toBe(true);
  expect(event.record()).toEqual({
    path: "direct",
    sourcePod: 0xfedc_ba98_7654_3210n,
    destinationPod: 4098n,
    source: { ip: "10.244.1.7", port: 54_321 },
    asked: { ip: "fd00:42::10", port: 80 },
    destination: { ip: "fd00:43::9", port: 8080 },
  });
  expect(event.closedMs - event.openedMs).toBeCloseTo(12_500, 3);
  expect([event.requestBytes, event.responseBytes]).toEqual([2 ** 40 + 3, 17]);
  expect([event.srttUs, event.retransmits, event.reason]).toEqual([250, 3, "peer_reset"]);
  expect([event.established, event.express, event.redirected]).toEqual([true, false, true]);
  expect(event.next()).toBe(false);
});

test("connections of a kind differ in the initiator's port and in what they carried, and in nothing else", () => {
  const kinds = new Set<string>();
  const cursor = new EventCursor(
    directEvents(
      {},
      { source: { ip: "10.0.0.1", port: 41_000 }, requestBytes: 7, reason: "peer_reset", kind: EVENT_DENIED },
      { source: { ip: "10.0.0.9", port: 40_000 } },
      { sourcePod: 7n },
      { destinationPod: 7n },
      { path: "plain-in" },
      { asked: { ip: "10.96.0.1", port: 8080 } },
      { destination: { ip: "10.0.0.2", port: 8081 }, asked: { ip: "10.0.0.2", port: 8080 } },
    ),
  );
  while (cursor.next()) kinds.add(cursor.kindOfConnection());
  expect(kinds.size).toBe(7);
});

test("what this agent does not know is passed over, and a torn rest is not looked at", () => {
  const bytes = directEvents({ kind: EVENT_OPEN }, {});
  new DataView(bytes.buffer).setUint32(FIELD.path, 9, true);
  const cursor = new EventCursor(bytes.subarray(0, bytes.length - 1));
  expect(cursor.next()).toBe(true);
  expect([cursor.path, cursor.record()]).toEqual([undefined, undefined]);
  expect(cursor.next()).toBe(false);
});
