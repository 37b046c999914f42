import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { LogRoot } from "#lib/log.ts";
import { PodFolders } from "./pod-folders.ts";

const A = "0f3c1d2e-1111-4222-8333-444455556666";
const B = "99999999-1111-4222-8333-444455556666";
const log = new LogRoot({
  format: "plain",
  filter: "off",
  destination: { write: () => undefined, flushSync: () => undefined },
}).logger("enroll");

let root: string;
let changed: string[];
let strangers: string[];
let pods: PodFolders;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "weft-folders-"));
  changed = [];
  strangers = [];
  pods = new PodFolders({
    podsCgroup: root,
    onChange: (uid) => changed.push(uid),
    onStranger: (path) => strangers.push(path),
    log,
  });
});

afterEach(() => {
  pods.close();
  rmSync(root, { recursive: true });
});

/** As the kernel makes a cgroup: its files are there with the folder. */
function makeFolder(path: string): void {
  const fresh = mkdtempSync(join(tmpdir(), "weft-folder-"));
  writeFileSync(join(fresh, "cgroup.events"), "populated 0\n");
  renameSync(fresh, join(root, path));
}

test("what is there is found, in classes and outside them", () => {
  makeFolder("burstable");
  makeFolder(`burstable/pod${A}`);
  makeFolder(`kubepods-pod${B.replaceAll("-", "_")}.slice`);
  pods.rescan();
  expect([...pods.uids()].sort()).toEqual([A, B]);
  expect(pods.of(A)).toBe(join(root, `burstable/pod${A}`));
  expect(pods.seesAll).toBe(true);
  expect(strangers).toEqual([]);
});

test("folders are told of as they come and go, those of a class that is new too", async () => {
  pods.rescan();
  makeFolder(`pod${A}`);
  await eventually("the first", () => changed.includes(A));
  mkdirSync(join(root, "besteffort"));
  makeFolder(`besteffort/pod${B}`);
  await eventually("one in a class", () => pods.of(B) !== undefined);
  rmSync(join(root, `pod${A}`), { recursive: true });
  await eventually("its end", () => pods.of(A) === undefined);
});

test("a first process is told of", async () => {
  makeFolder(`pod${A}`);
  pods.rescan();
  changed.length = 0;
  writeFileSync(join(root, `pod${A}/cgroup.events`), "populated 1\n");
  await eventually("the event", () => changed.includes(A));
});

test("what no kubelet has made is told of once, and is among what is there", () => {
  makeFolder("somebody");
  makeFolder("burstable");
  makeFolder("burstable/podless");
  pods.rescan();
  pods.rescan();
  expect(strangers.sort()).toEqual([join(root, "burstable/podless"), join(root, "somebody")]);
  expect([...pods.paths()].sort()).toEqual(strangers);
});
