import { describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { MANIFESTS } from "../../demo/src/manifests.ts";
import type { Stage, StagePod } from "../../demo/src/stage.ts";
import { podOf, runScript, SETTLE_MS, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const NAMESPACE = (labels: string): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bookinfo\n  labels: {${labels}}\n`;
const MARKER = "marker-of-the-lifecycle";

/** Asks on one connection for six seconds, then says how it went. */
const KEEP_ASKING = (ip: string): string => `const net = require("node:net");
const socket = net.connect(9080, "${ip}");
let asked = 0, answers = 0;
const ask = () => { asked++; socket.write("GET /details/0 HTTP/1.1\\r\\nHost: details\\r\\n\\r\\n"); };
socket.on("connect", ask);
socket.on("data", () => answers++);
socket.on("error", (error) => console.log(error.message));
socket.on("close", () => console.log(asked === answers ? "every answer came" : answers + " of " + asked));
const timer = setInterval(ask, 300);
setTimeout(() => { clearInterval(timer); setTimeout(() => socket.end(), 500); }, 6000);`;

/** What asks the control plane for a new root. */
const ROTATE = `apiVersion: v1
kind: Secret
metadata: {name: istio-ca-secret, namespace: istio-system, annotations: {weft/rotate-root: requested}}
`;

const LONER = `apiVersion: v1
kind: Pod
metadata: {name: loner, namespace: bookinfo, labels: {app: loner, istio.io/dataplane-mode: none}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: loner, image: host, command: [sleep, infinity]}]
`;

export function lifecycle(scene: () => Scene): void {
  describe("lifecycle", () => {
    it("an agent that dies closes its pods' way out, never opens it, and the next one takes over", async () => {
      const { stage, cast } = scene();
      await stage.apply(MANIFESTS.strict);
      const far = cast.bookinfo.find((pod) => pod.node !== cast.shopper.node);
      const node = stage.nodes.find(({ name }) => name === cast.shopper.node);
      if (far === undefined || node === undefined)
        throw new Error("the shopper's node, and a pod on another, are needed");
      const url = `http://${far.ip}:9080/healthz/live?${MARKER}`;
      const before = await node.agentPid();
      const report = await stage.listenOnWire(MARKER, async () => {
        expect(await statusOf(stage, cast.shopper, url)).toBe(200);
        process.kill(before, "SIGKILL");
        expect(await statusOf(stage, cast.shopper, url), "while no agent runs").toBe(0);
        await eventually("calls work again", async () => (await statusOf(stage, cast.shopper, url)) === 200, 60_000);
      });
      expect(report).toMatchObject({ lost: 0, markerPackets: 0 });
      expect(await node.agentPid()).not.toBe(before);
      await stage.remove(MANIFESTS.strict);
    });

    it("a namespace without its label is out of the mesh at once, and back with it", async () => {
      const { stage, cast } = scene();
      const details = podOf(cast.bookinfo, "details");
      const caller = cast.bookinfo.find((pod) => pod.node !== details.node);
      if (caller === undefined) throw new Error("no pod on another node");
      const url = `http://${details.ip}:9080/details/0?${MARKER}`;
      const enrolled = async (wanted: boolean): Promise<boolean> =>
        (await stage.pods("bookinfo")).every((pod) => pod.enrolled === wanted);
      await stage.apply(NAMESPACE(""));
      await eventually("no pod is enrolled", () => enrolled(false), SETTLE_MS);
      const outside = await stage.listenOnWire(MARKER, async () => {
        expect(await statusOf(stage, caller, url)).toBe(200);
      });
      expect(outside.markerPackets, "plaintext, as without a mesh").toBeGreaterThan(0);
      const open = runScript(stage, caller, KEEP_ASKING(details.ip), 30_000);
      await eventually("the connection is open", () => isConnected(stage, caller, details.ip), SETTLE_MS);
      await stage.apply(NAMESPACE("istio.io/dataplane-mode: ambient"));
      await eventually("every pod is enrolled", () => enrolled(true), SETTLE_MS);
      const isPrivate = async (): Promise<boolean> => {
        const inside = await stage.listenOnWire(MARKER, async () => {
          expect(await statusOf(stage, caller, url)).toBe(200);
        });
        return inside.markerPackets === 0 && inside.tlsRecords > 0;
      };
      await eventually("calls go through the tunnel again", isPrivate, SETTLE_MS);
      expect((await open).stdout, "the connection that was open when the pods came in").toBe("every answer came\n");
    });

    it("a pod that opts out stays out, whatever its namespace says", async () => {
      const { stage, cast } = scene();
      await stage.apply(LONER);
      const loner = await eventually(
        "the pod is ready",
        async () => (await stage.pods("bookinfo")).find(({ name, ready }) => name === "loner" && ready),
        SETTLE_MS,
      );
      const details = podOf(cast.bookinfo, "details");
      expect(await statusOf(stage, loner, `http://${details.ip}:9080/details/0`)).toBe(200);
      expect((await stage.pods("bookinfo")).find(({ name }) => name === "loner")?.enrolled).toBe(false);
      await stage.remove(LONER);
    });

    it("a rotation of the root begins with everybody trusting both, and calls go on", async () => {
      const { stage, cast } = scene();
      const agent = (await stage.pods("istio-system")).find((pod) => pod.labels.app === "weft-agent");
      if (agent === undefined) throw new Error("no agent");
      const roots = async (): Promise<number> => {
        const { stdout } = await stage.exec(agent, ["cat", "/var/run/secrets/istio/root-cert.pem"]);
        return stdout.split("BEGIN CERTIFICATE").length - 1;
      };
      expect(await roots()).toBe(1);
      await stage.apply(ROTATE);
      await eventually("the agents have both roots", async () => (await roots()) === 2, 60_000);
      expect(await statusOf(stage, cast.shopper, "http://details.bookinfo:9080/details/0")).toBe(200);
    });
  });
}

async function isConnected(stage: Stage, from: StagePod, ip: string): Promise<boolean> {
  const { stdout } = await stage.exec(from, ["ss", "-tnH", "state", "established", "dst", ip]);
  return stdout.includes(":9080");
}
