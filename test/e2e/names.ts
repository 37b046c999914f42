import { describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { podOf, runScript, SETTLE_MS, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const HEADLESS = `apiVersion: v1
kind: Service
metadata: {name: reviews-headless, namespace: bookinfo}
spec:
  clusterIP: None
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
`;

/** ServiceEntry: a name of the mesh for something outside it. */
const ENTRY = (ip: string): string => `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: books, namespace: bookinfo}
spec:
  hosts: [books.example.com]
  addresses: [240.10.0.1]
  resolution: STATIC
  ports: [{number: 80, targetPort: 9080, name: http, protocol: TCP}]
  endpoints: [{address: ${ip}}]
`;

export function names(scene: () => Scene): void {
  describe("names", () => {
    it("a service answers by its short, its namespaced and its full name", async () => {
      const { stage, cast } = scene();
      for (const host of [
        "details",
        "details.bookinfo",
        "details.bookinfo.svc",
        "details.bookinfo.svc.cluster.local",
      ]) {
        expect(await statusOf(stage, cast.shopper, `http://${host}:9080/details/0`), host).toBe(200);
      }
    });

    it("a headless service resolves to its pods, and they are reached", async () => {
      const { stage, cast } = scene();
      await stage.apply(HEADLESS);
      const script = `require("node:dns/promises").lookup("reviews-headless", { all: true, family: 4 })
        .then((all) => console.log(all.map((one) => one.address).sort().join()))`;
      const expected = cast.bookinfo.filter((pod) => pod.labels.app === "reviews").map((pod) => pod.ip);
      await eventually(
        "all reviews are behind the name",
        async () => (await runScript(stage, cast.shopper, script, 10_000)).stdout.trim() === expected.sort().join(),
        SETTLE_MS,
      );
      expect(await statusOf(stage, cast.shopper, "http://reviews-headless:9080/reviews/0")).toBe(200);
      await stage.remove(HEADLESS);
    });

    it("a ServiceEntry's host resolves and leads to its endpoint", async () => {
      const { stage, cast } = scene();
      const entry = ENTRY(podOf(cast.bookinfo, "details").ip);
      await stage.apply(entry);
      await eventually(
        "books.example.com answers",
        async () => (await statusOf(stage, cast.shopper, "http://books.example.com/details/0")) === 200,
        SETTLE_MS,
      );
      await stage.remove(entry);
    });
  });
}
