import { describe, expect, it } from "vitest";
import { sumOf } from "../../demo/src/metrics-text.ts";
import type { StagePod } from "../../demo/src/stage.ts";
import type { Cast } from "../../demo/src/story.ts";
import { lineThat, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const ACCOUNT = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-";

export function wire(scene: () => Scene): void {
  describe("between the nodes", () => {
    it("there is TLS and no text of the requests; without the mesh the same text is there", async () => {
      const { stage, cast } = scene();
      const far = farFrom(cast.shopper, cast);
      const url = `http://${far.ip}:9080/healthz/live?marker-of-the-wire`;
      const tunnel = await stage.listenOnWire("marker-of-the-wire", async () => {
        for (let i = 0; i < 5; i++) expect(await statusOf(stage, cast.shopper, url)).toBe(200);
      });
      expect(tunnel).toMatchObject({ lost: 0, markerPackets: 0 });
      expect(tunnel.tlsRecords).toBeGreaterThan(0);
      expect(tunnel.tcpBytes - tunnel.tunnelBytes, "bytes beside the tunnel").toBeLessThan(tunnel.tcpBytes);
      const plain = await stage.listenOnWire("marker-of-the-wire", async () => {
        await statusOf(
          stage,
          cast.outsider,
          `http://${farFrom(cast.outsider, cast).ip}:9080/healthz/live?marker-of-the-wire`,
        );
      });
      expect(plain.markerPackets).toBeGreaterThan(0);
    });

    it("both ends log and count a call with both identities", async () => {
      const { stage, cast } = scene();
      const far = farFrom(cast.shopper, cast);
      for (let i = 0; i < 5; i++) {
        expect(await statusOf(stage, cast.shopper, `http://${far.ip}:9080/healthz/live`)).toBe(200);
      }
      const identity = `${ACCOUNT}${far.labels.app}`;
      for (const direction of ["outbound", "inbound"] as const) {
        const line = await lineThat(
          stage,
          `the ${direction} line of a call of shopper to ${far.name}`,
          (candidate) =>
            candidate.direction === direction &&
            candidate.source.identity === `${ACCOUNT}shopper` &&
            candidate.destination.identity === identity,
        );
        expect(line).toMatchObject({ error: undefined, destination: { pod: far.name } });
        expect(line.responseBytes).toBeGreaterThan(100);
      }
      const samples = (await Promise.all(stage.nodes.map((node) => node.metrics()))).flat();
      for (const reporter of ["source", "destination"]) {
        const labels = {
          reporter,
          source_principal: `${ACCOUNT}shopper`,
          destination_principal: identity,
          connection_security_policy: "mutual_tls",
        };
        expect(sumOf(samples, "istio_tcp_connections_opened_total", labels), reporter).toBeGreaterThanOrEqual(5);
        expect(sumOf(samples, "istio_tcp_sent_bytes_total", labels), reporter).toBeGreaterThan(500);
      }
    });

    it("applications see the real client, over IPv4 and IPv6", async () => {
      const { stage, cast } = scene();
      const far = farFrom(cast.shopper, cast);
      const path = `/${far.labels.app}/0`;
      for (const [ip, client] of [
        [far.ip, cast.shopper.ip],
        [`[${far.ip6}]`, cast.shopper.ip6],
      ]) {
        const { stdout } = await stage.exec(cast.shopper, ["curl", "-s", "--globoff", `http://${ip}:9080${path}`]);
        expect(JSON.parse(stdout), `by way of ${ip}`).toMatchObject({ servedBy: { client } });
      }
      await lineThat(
        stage,
        "a tunnel over IPv6",
        (line) => line.tunnelTo === `[${far.ip6}]:9080` && line.source.pod === "shopper",
      );
    });
  });
}

/** A pod of Bookinfo on the other node that answers in JSON who asked. */
function farFrom(caller: StagePod, cast: Cast): StagePod {
  const far = cast.bookinfo.find(({ node, labels }) => node !== caller.node && labels.app !== "productpage");
  if (far === undefined) throw new Error(`no pod on another node than ${caller.name}`);
  return far;
}
