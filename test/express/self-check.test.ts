import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cgroupMount } from "../../playground/src/system/cgroup.ts";
import { buildPrograms, SELF_CHECK } from "./express-bed.ts";

const CGROUP = `${cgroupMount()}/wexpr-self-${process.pid}`;

/** WEFT_GUARD_* of bpf/include/weft_express.h, and the check that must fail without it. */
const GUARDS = {
  "a reader that has stopped does not stop its sender": 1 << 0,
  "a connection that has lagged behind stays slow": 1 << 1,
  "bytes change their order": 1 << 2,
  "blocking reads come short": 1 << 3,
  "bytes go to connections that are not accepted": 1 << 3,
  "SO_RCVLOWAT does not hold": 1 << 4,
  "sockets send after their end": 1 << 5,
  "closed peers are not answered for by TCP": 1 << 6,
  "MPTCP sockets do not stay away": 1 << 7,
  "blocking reads end with EAGAIN": 1 << 8,
  "readers that read short miss the rest": 1 << 9,
};

/** Checks that fail on this kernel with these guards left out. */
function failures(guardsOff: number): string[] {
  const enter = `echo $$ >"$0/cgroup.procs" && exec "$@"`;
  const ran = spawnSync("/bin/sh", ["-c", enter, CGROUP, SELF_CHECK, CGROUP, String(guardsOff)], { encoding: "utf8" });
  expect(ran.stdout + ran.stderr).toContain("took");
  const lines = ran.stdout.split("\n").filter((line) => line.startsWith("no "));
  return lines.map((line) => line.replace(/^no \d+ /, "").replace(/:.*/, ""));
}

describe("the self-check of express connections", () => {
  beforeAll(() => {
    buildPrograms();
    mkdirSync(CGROUP, { recursive: true });
  });
  afterAll(() => rmdirSync(CGROUP));

  it("passes on this kernel", () => {
    expect(failures(0)).toEqual([]);
  });

  it.each(Object.entries(GUARDS))("finds that %s, when the guard is left out", (check, guard) => {
    expect(failures(guard)).toContain(check);
  });

  it("leaves nothing attached", () => {
    const attached = execFileSync("/usr/sbin/bpftool", ["cgroup", "list", CGROUP], { encoding: "utf8" });
    expect(attached).not.toContain("weft_express");
  });
});
