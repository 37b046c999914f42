import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { envoyFlags, FLAGS, flagsText, longFlagsText } from "./flags.ts";

it("numbers flags as the engine does", () => {
  const header = readFileSync(new URL("../../../native/src/l7/flags.h", import.meta.url), "utf8");
  const names = [...header.matchAll(/^ {2}k([A-Z]+),$/gm)].map(([, name]) => name);
  expect(FLAGS.map(([name]) => name)).toEqual(names);
});

it("joins several, and has a dash for none", () => {
  expect(flagsText(0)).toBe("-");
  expect(flagsText(0b10010)).toBe("URX,UF");
  expect(longFlagsText(0b10010)).toBe("UpstreamRetryLimitExceeded,UpstreamConnectionFailure");
  expect(envoyFlags(0b10010)).toBe(0x8020n);
});
