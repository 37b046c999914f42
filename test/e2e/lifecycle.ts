import { describe, expect, it } from "vitest";
import { eventually } from "../../demo/src/eventually.ts";
import { MANIFESTS } from "../../demo/src/manifests.ts";
import { podOf, SETTLE_MS, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const NAMESPACE = (labels: string): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bookinfo\n  labels: {${labels}}\n`;
const MARKER = "marker-of-the-lifecycle";

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
      await stage.apply(NAMESPACE("istio.io/dataplane-mode: ambient"));
      await eventually("every pod is enrolled", () => enrolled(true), SETTLE_MS);
      const isPrivate = async (): Promise<boolean> => {
        const inside = await stage.listenOnWire(MARKER, async () => {
          expect(await statusOf(stage, caller, url)).toBe(200);
        });
        return inside.markerPackets === 0 && inside.tlsRecords > 0;
      };
      await eventually("calls go through the tunnel again", isPrivate, SETTLE_MS);
    });
  });
}
