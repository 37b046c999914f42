/** What the command says of itself before it needs anything. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const BIN = fileURLToPath(new URL("../../control/bin/weft-control", import.meta.url));

function run(...args: string[]) {
  const env = { PATH: process.env.PATH ?? "" };
  const { status, stdout, stderr } = spawnSync(BIN, args, { env, encoding: "utf8", timeout: 20_000 });
  return { status, stdout, stderr };
}

test.each(["--help", "-h"])("%s says how it is used", (flag) => {
  const { status, stdout, stderr } = run(flag);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^usage: weft-control\n/);
});

test("an argument that it does not know is named, in one line", () => {
  const { status, stderr } = run("--replicas=2");
  expect(status).toBe(1);
  expect(stderr).toMatch(/^weft-control: Unknown option '--replicas'[^\n]*\n$/);
});

test("without a Kubernetes API it says what to set", () => {
  const { status, stderr } = run();
  expect(status).toBe(1);
  expect(stderr).toMatch(/^weft-control: no way to the Kubernetes API: set KUBECONFIG[^\n]*\n$/);
});
