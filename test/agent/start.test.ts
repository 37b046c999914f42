/** What is missing or wrong at start is said in one line. */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { AS_NOBODY } from "../helpers/nobody.ts";

const BIN = fileURLToPath(new URL("../../agent/bin/weft-agent", import.meta.url));

function run(env: Record<string, string>, [program, ...args]: readonly [string, ...string[]] = [BIN]) {
  const path = { PATH: process.env.PATH ?? "" };
  const { status, stderr } = spawnSync(program, args, { env: { ...path, ...env }, encoding: "utf8", timeout: 20_000 });
  return { status, stderr };
}

test("not as root: one line, exit 1", () => {
  expect(run({}, ["setpriv", ...AS_NOBODY, BIN])).toEqual({
    status: 1,
    stderr: "weft-agent: must run as root: it loads BPF programs and enters pods' namespaces\n",
  });
});

test.each([
  [{}, 'weft-agent: environment variable NODE_NAME="": expected the name of the Kubernetes node'],
  [{ NODE_NAME: "n", XDS_ADDRESS: "http://x:1" }, 'environment variable XDS_ADDRESS="http://x:1": expected https://'],
  [{ NODE_NAME: "n", KEEPALIVE_TIME: "soon" }, 'environment variable KEEPALIVE_TIME="soon": expected a duration'],
  [{ NODE_NAME: "n", RUST_LOG: "loud" }, 'environment variable RUST_LOG="loud": expected a level'],
  [{ NODE_NAME: "n", KUBECONFIG: "/nonexistent" }, "weft-agent: /nonexistent: no such file"],
  [{ NODE_NAME: "n" }, "weft-agent: no way to the Kubernetes API: set KUBECONFIG"],
])("a start with %j says what is wrong", (env, message) => {
  const { status, stderr } = run(env);
  expect(status).toBe(1);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

test("an address that cannot be had is named, and the kernel is not touched", () => {
  const kubeconfig = `${tmpdir()}/weft-start-${process.pid}.kubeconfig`;
  writeFileSync(
    kubeconfig,
    "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n" +
      "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n",
  );
  const pinDir = `/sys/fs/bpf/weft-start-${process.pid}`;
  const env = {
    NODE_NAME: "n",
    KUBECONFIG: kubeconfig,
    WEFT_BPFFS_DIR: pinDir,
    ADMIN_ADDR: "192.0.2.1:1",
  };
  // By the command of Istio's DaemonSet: that much of the start is the same.
  const { status, stderr } = run(env, [BIN, "proxy", "ztunnel"]);
  expect({ status, stderr }).toMatchObject({ status: 1 });
  expect(stderr).toMatch(/^weft-agent: cannot listen on 192\.0\.2\.1:1: .*EADDRNOTAVAIL/);
  expect(existsSync(pinDir)).toBe(false);
});
