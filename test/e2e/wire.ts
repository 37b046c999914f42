import { describe, expect, it } from "vitest";
import { sumOf } from "../../demo/src/metrics-text.ts";
import { getPages } from "../../demo/src/shopping.ts";
import { lineThat, podOf, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const ACCOUNT = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-";

export function wire(scene: () => Scene): void {
  describe("between the nodes", () => {
    it("there is TLS and no text of the requests; without the mesh the same text is there", async () => {
      const { stage, cast } = scene();
      const far = cast.bookinfo.filter((pod) => pod.node !== cast.shopper.node)[0];
      if (far === undefined) throw new Error("no pod on the other node");
      const url = `http://${far.ip}:9080/healthz/live?marker-of-the-wire`;
      const tunnel = await stage.listenOnWire("marker-of-the-wire", async () => {
        for (let i = 0; i < 5; i++) expect(await statusOf(stage, cast.shopper, url)).toBe(200);
      });
      expect(tunnel).toMatchObject({ lost: 0, markerPackets: 0 });
      expect(tunnel.tlsRecords).toBeGreaterThan(0);
      expect(tunnel.tcpBytes - tunnel.tunnelBytes, "bytes beside the tunnel").toBeLessThan(tunnel.tcpBytes);
      const toFar = cast.bookinfo.filter((pod) => pod.node !== cast.outsider.node)[0];
      const plain = await stage.listenOnWire("marker-of-the-wire", async () => {
        await statusOf(stage, cast.outsider, `http://${toFar?.ip}:9080/healthz/live?marker-of-the-wire`);
      });
      expect(plain.markerPackets).toBeGreaterThan(0);
    });

    it("both ends log and count a call with both identities", async () => {
      const { stage, cast } = scene();
      expect(await getPages(stage, cast.shopper, 5, "identities")).toHaveLength(5);
      for (const direction of ["outbound", "inbound"] as const) {
        const line = await lineThat(
          stage,
          `the ${direction} line of a call of productpage to details`,
          (candidate) =>
            candidate.direction === direction &&
            candidate.source.identity === `${ACCOUNT}productpage` &&
            candidate.destination.identity === `${ACCOUNT}details`,
        );
        expect(line).toMatchObject({ error: undefined, service: "details.bookinfo.svc.cluster.local" });
        expect(line.responseBytes).toBeGreaterThan(100);
      }
      const samples = (await Promise.all(stage.nodes.map((node) => node.metrics()))).flat();
      for (const reporter of ["source", "destination"]) {
        const labels = {
          reporter,
          source_principal: `${ACCOUNT}productpage`,
          destination_principal: `${ACCOUNT}details`,
          connection_security_policy: "mutual_tls",
        };
        expect(sumOf(samples, "istio_tcp_connections_opened_total", labels), reporter).toBeGreaterThanOrEqual(5);
        expect(sumOf(samples, "istio_tcp_sent_bytes_total", labels), reporter).toBeGreaterThan(500);
      }
    });

    it("applications see the real client, over IPv4 and IPv6", async () => {
      const { stage, cast } = scene();
      const details = podOf(cast.bookinfo, "details");
      for (const [ip, client] of [
        [details.ip, cast.shopper.ip],
        [`[${details.ip6}]`, cast.shopper.ip6],
      ]) {
        const { stdout } = await stage.exec(cast.shopper, ["curl", "-s", "--globoff", `http://${ip}:9080/details/0`]);
        expect(JSON.parse(stdout), `by way of ${ip}`).toMatchObject({ servedBy: { client } });
      }
      await lineThat(
        stage,
        "a tunnel over IPv6",
        (line) => line.tunnelTo === `[${details.ip6}]:9080` && line.source.pod === "shopper",
      );
    });
  });
}
