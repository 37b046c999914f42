/** `weft analyze` on files, without any cluster. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { weftHere as weft } from "../../../test/helpers/weft-here.ts";

const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
`;
const BROKEN = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: web
  namespace: shop
spec:
  host: wbe
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: nobody
  namespace: shop
spec:
  action: DENY
`;

describe("weft analyze -f", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "weft-analyze-"));
    mkdirSync(join(folder, "inner"));
    writeFileSync(join(folder, "web.yaml"), SERVICE);
    writeFileSync(join(folder, "inner", "broken.yml"), BROKEN);
    writeFileSync(join(folder, "notes.txt"), "not a manifest");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const broken = () => join(folder, "inner", "broken.yml");

  it("says that nothing is wrong, and ends with 0", async () => {
    const file = join(folder, "web.yaml");
    const stdout = `✔ No validation issues found when analyzing ${file}.\n`;
    expect(await weft(["analyze", "-f", file])).toEqual({ code: 0, stdout, stderr: "" });
  });

  it("says line by line what is wrong, and ends with istioctl's 79", async () => {
    expect(await weft(["analyze", "-f", broken()])).toEqual({
      code: 79,
      stdout: [
        `Error [IST0106] (AuthorizationPolicy shop/nobody ${broken()}:14) spec.rules: a DENY policy needs rules`,
        `Warning [IST0174] (DestinationRule shop/web ${broken()}:7) No service has the host "wbe.shop.svc.cluster.local"`,
        "",
      ].join("\n"),
      stderr: `weft: found issues when analyzing ${broken()}\n`,
    });
  });

  it("looks into folders, into those within when asked, and at stdin", async () => {
    expect((await weft(["analyze", "-f", folder])).code).toBe(0);
    expect((await weft(["analyze", "-f", folder, "-R"])).code).toBe(79);
    expect((await weft(["analyze", "-f", "-"], { input: BROKEN })).stdout).toContain("shop/nobody stdin:14");
  });

  it("gives objects without a namespace that of -n", async () => {
    const input = BROKEN.replaceAll("  namespace: shop\n", "");
    expect((await weft(["analyze", "-f", "-", "-n", "market"], { input })).stdout).toContain("wbe.market.svc");
    expect((await weft(["analyze", "-f", "-"], { input })).stdout).toContain("wbe.default.svc");
  });

  it("prints JSON and YAML for machines", async () => {
    const { stdout } = await weft(["analyze", "-f", broken(), "-o", "json"]);
    expect(JSON.parse(stdout)).toHaveLength(2);
    expect(JSON.parse(stdout)[1]).toMatchObject({
      code: "IST0174",
      level: "Warning",
      origin: "DestinationRule shop/web",
    });
    expect((await weft(["analyze", "-f", broken(), "-o", "yaml"])).stdout).toMatch(
      /^- code: IST0106\n {2}level: Error\n/,
    );
  });

  it("leaves out what is suppressed or below the threshold of output", async () => {
    const args = ["analyze", "-f", broken(), "-S", "IST0106=AuthorizationPolicy shop/*"];
    expect(await weft(args)).toMatchObject({ code: 0, stderr: "" });
    expect((await weft([...args, "--failure-threshold", "Warning"])).code).toBe(79);
    expect((await weft([...args, "--output-threshold", "Error"])).stdout).toContain("No validation issues");
  });

  it("lists its codes", async () => {
    expect((await weft(["analyze", "-L"])).stdout).toContain("IST0101  Error    ReferencedResourceNotFound\n");
  });

  it.each([
    [["analyze", "-f", "/nowhere.yaml"], 1, "weft: cannot read /nowhere.yaml: no such file\n"],
    [
      ["analyze", "-f", "-"],
      1,
      "weft: stdin:1: not an object of Kubernetes: it needs apiVersion, kind and metadata.name\n",
    ],
    [["analyze", "--use-kube=false"], 2, "weft: weft analyze without a cluster needs files: give -f FILE\n"],
    [
      ["analyze", "-f", "-", "-S", "all"],
      2,
      'weft: --suppress all: CODE=OBJECT is expected, as "IST0102=Namespace shop*"\n',
    ],
    [["analyze"], 3, /^weft: no cluster is named/],
  ])("says in one line why it cannot: %j", async (args, code, stderr) => {
    const result = await weft(args, { input: "a: 1" });
    expect([result.code, result.stdout]).toEqual([code, ""]);
    expect(result.stderr).toMatch(stderr);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
  });
});
