import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { localPod } from "../../../test/helpers/local-pod.ts";
import { meshState } from "../../../test/helpers/mesh-state.ts";
import { LocalPods } from "../enroll/local-pods.ts";
import type { Shortcut } from "../native.ts";
import { Shortcuts } from "./shortcuts.ts";

const PLAIN = localPod(1, "plain", ["10.0.0.1"]);
const EAGER = { ...localPod(2, "eager", ["10.0.0.2"]), express: true };

let lines: string[];
let redirects: Shortcut[];
let checks: number;
let pods: LocalPods;
let shortcuts: Shortcuts;

function create(expressOff?: string): void {
  const log = new LogRoot({
    format: "plain",
    filter: "info",
    destination: {
      write: (line) => lines.push(line.split("\t").slice(3).join(" ").trim()),
      flushSync: () => undefined,
    },
  });
  const plane = {
    redirects: () => redirects,
    checkRedirects: () => {
      checks++;
    },
    expressOff: () => expressOff,
  };
  shortcuts = new Shortcuts({ plane, pods, log: log.logger("direct") });
}

beforeEach(() => {
  lines = [];
  redirects = [];
  checks = 0;
  pods = new LocalPods(meshState());
  for (const pod of [PLAIN, EAGER]) {
    pods.add(pod);
    pods.capture(pod);
  }
});

afterEach(() => {
  shortcuts.close();
});

describe("peer redirect", () => {
  test("is said where it turns on and off, with the reason, and not twice", async () => {
    create();
    redirects = [
      { pod: 1n, device: "veth1", off: undefined },
      { pod: 2n, device: undefined, off: "no device found" },
    ];
    lines.length = 0;
    shortcuts.captured(PLAIN);
    shortcuts.captured(EAGER);
    await new Promise(setImmediate);
    expect(lines).toEqual([
      'peer redirect is on pod="default/plain" device="veth1"',
      'peer redirect is off pod="default/eager" reason="no device found"',
    ]);
    shortcuts.recheck();
    expect([lines.length, checks, shortcuts.redirected]).toEqual([2, 1, 1]);
    redirects = [{ pod: 1n, device: "veth1", off: "another program" }];
    shortcuts.recheck();
    expect(lines.at(-1)).toBe('peer redirect is off pod="default/plain" device="veth1" reason="another program"');
    expect(shortcuts.of(PLAIN)).toMatchObject({ redirect: "off: another program", device: "veth1" });
    expect(shortcuts.redirected).toBe(0);
  });
});

describe("express", () => {
  test("is on for who asks, where the kernel passed its test", () => {
    create();
    expect(lines).toEqual(["express connections are offered"]);
    expect(shortcuts.of(EAGER).express).toBe("on");
    expect(shortcuts.of(PLAIN).express).toBe("off: the pod has not asked for it");
  });

  test("is said to be missing once at the start and once to each pod that asks", () => {
    create("no back-pressure");
    for (const pod of [PLAIN, EAGER, EAGER]) shortcuts.captured(pod);
    expect(lines).toEqual([
      'express connections are not offered reason="no back-pressure"',
      'pod asks for express connections, which are not offered pod="default/eager" reason="no back-pressure"',
    ]);
    expect(shortcuts.of(EAGER).express).toBe("off: no back-pressure");
  });
});
