import { describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { MANIFESTS } from "../../demo/src/manifests.ts";
import { lineThat, podOf, runScript, SETTLE_MS, statusOf } from "./calls.ts";
import type { Scene } from "./mesh.test.ts";

const RATINGS = "http://ratings.bookinfo:9080/ratings/0";
const DENY_SHOPPER = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-shopper, namespace: bookinfo}
spec:
  selector: {matchLabels: {app: ratings}}
  action: DENY
  rules: [{from: [{source: {serviceAccounts: [bookinfo/bookinfo-shopper]}}]}]
`;
const SOCKETS = ["ss", "-tnH", "state", "established"];
/** Holds a connection open, says "open" after the first answer, and when it ended. */
const HOLD = `const net = require("node:net");
const socket = net.connect(9080, "ratings.bookinfo");
socket.on("connect", () => socket.write("GET /ratings/0 HTTP/1.1\\r\\nHost: ratings\\r\\n\\r\\n"));
const pinger = setInterval(() => socket.write("GET /ratings/0 HTTP/1.1\\r\\nHost: ratings\\r\\n\\r\\n"), 500);
let answers = 0;
socket.on("data", () => answers++);
socket.on("error", () => {});
socket.on("close", () => { clearInterval(pinger); console.log("closed after", answers > 0 ? "answers" : "nothing"); });`;

export function policies(scene: () => Scene): void {
  describe("policies", () => {
    it("STRICT refuses who has no identity, names itself, and leaves mesh and probes alone", async () => {
      const { stage, cast } = scene();
      const url = `http://${podOf(cast.bookinfo, "details").ip}:9080/details/0`;
      expect(await statusOf(stage, cast.outsider, url)).toBe(200);
      await stage.apply(MANIFESTS.strict);
      await eventually(
        "the outsider is refused",
        async () => (await statusOf(stage, cast.outsider, url)) === 0,
        SETTLE_MS,
      );
      expect(await statusOf(stage, cast.shopper, url)).toBe(200);
      const line = await lineThat(
        stage,
        "a line that names the policy",
        ({ policy }) => policy === "istio-system/istio_converted_static_strict",
      );
      expect(line).toMatchObject({ direction: "inbound", tunnelTo: undefined, destination: { namespace: "bookinfo" } });
      const pods = await stage.pods("bookinfo");
      expect(pods.filter((pod) => !pod.ready)).toEqual([]);
      await stage.remove(MANIFESTS.strict);
      await eventually(
        "plaintext is taken again",
        async () => (await statusOf(stage, cast.outsider, url)) === 200,
        SETTLE_MS,
      );
    });

    it("a DENY policy stops one identity, names itself, and nobody else notices", async () => {
      const { stage, cast } = scene();
      await stage.apply(DENY_SHOPPER);
      await eventually(
        "the shopper is refused",
        async () => (await statusOf(stage, cast.shopper, RATINGS)) === 0,
        SETTLE_MS,
      );
      await lineThat(stage, "a line that names the policy", ({ policy }) => policy === "bookinfo/no-shopper");
      const reviews = cast.bookinfo.find((pod) => pod.labels.app === "reviews");
      if (reviews === undefined) throw new Error("no pod of reviews");
      expect(await statusOf(stage, reviews, RATINGS)).toBe(200);
      await stage.remove(DENY_SHOPPER);
      await eventually(
        "the shopper is served",
        async () => (await statusOf(stage, cast.shopper, RATINGS)) === 200,
        SETTLE_MS,
      );
    });

    it("a new policy ends a live connection that it forbids", async () => {
      const { stage, cast } = scene();
      const held = runScript(stage, cast.shopper, HOLD, 60_000);
      await eventually(
        "the connection is open",
        // Directly when ratings is on the shopper's node, else by the agent.
        async () => /:(9080|15001)\b/.test((await stage.exec(cast.shopper, SOCKETS)).stdout),
        SETTLE_MS,
      );
      await stage.apply(DENY_SHOPPER);
      expect((await held).stdout).toContain("closed after answers");
      await lineThat(
        stage,
        "a line that says why",
        ({ error, policy }) => policy === "bookinfo/no-shopper" && error?.includes("policy change") === true,
      );
      await stage.remove(DENY_SHOPPER);
      await eventually(
        "the shopper is served",
        async () => (await statusOf(stage, cast.shopper, RATINGS)) === 200,
        SETTLE_MS,
      );
    });
  });
}
