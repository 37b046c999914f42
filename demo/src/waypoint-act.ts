/** The last act: a waypoint in front of Bookinfo, and what only a proxy that speaks HTTP can do. */
import { eventually } from "#lib/eventually.ts";
import { must } from "./claims.ts";
import { MANIFESTS } from "./manifests.ts";
import type { Stage, StagePod } from "./stage.ts";
import type { Cast, StoryOptions } from "./story.ts";

const REVIEWS = "http://reviews.bookinfo.svc.cluster.local:9080/reviews/0";
const DETAILS = "http://details.bookinfo.svc.cluster.local:9080/details/0";
const SETTLE_MS = 20_000;
/** The waypoint's pod has to start. */
const START_MS = 60_000;
const EACH = 20;
/** At a third each: fewer than ten of 120 for a version has odds of 1 in 10^11. */
const SHARED_OUT = 120;
const LEAST = 10;

/** The namespace as it was: nobody's traffic goes by a waypoint. */
const NAMESPACE = `apiVersion: v1
kind: Namespace
metadata: {name: bookinfo, labels: {istio.io/dataplane-mode: ambient}}
`;

export async function waypoint({ stage, claims, say, layout }: StoryOptions, { shopper }: Cast): Promise<void> {
  say(layout.heading("A waypoint: routes, faults and policies of HTTP, and still nothing in the pods"));
  const begun = performance.now();
  await stage.apply(MANIFESTS.waypoint);
  await claims.check("a Gateway is a waypoint in front of every Service of the namespace", async () => {
    const passed = async () => (await ask(stage, shopper, REVIEWS, "-i")).includes("server: istio-envoy");
    await eventually("an answer that has come by it", passed, START_MS);
    return `after ${((performance.now() - begun) / 1000).toFixed(1)} s`;
  });
  await stage.apply(MANIFESTS.subsets);
  await stage.apply(MANIFESTS.byUser);
  await claims.check("VirtualService: jason gets reviews v2, everybody else v1", async () => {
    const jason = ["-H", "end-user: jason"];
    const holds = async () =>
      `${await versions(stage, shopper, EACH, jason)} ${await versions(stage, shopper, EACH)}` ===
      `v2:${EACH} v1:${EACH}`;
    await eventually("the routes", holds, SETTLE_MS);
    return `${EACH} of ${EACH} each`;
  });
  await stage.apply(MANIFESTS.thirds);
  await claims.check("33/33/34: the three versions share the requests", async () => {
    const shares = await eventually("all three", () => thirds(stage, shopper), SETTLE_MS);
    return `of ${SHARED_OUT}: ${shares}`;
  });
  await stage.apply(MANIFESTS.fault);
  await claims.check("a fault of status 555 has Envoy's own body", async () => {
    const aborted = async () => (await ask(stage, shopper, DETAILS, ...STATUS)) === "fault filter abort 555";
    await eventually("the fault", aborted, SETTLE_MS);
    return "fault filter abort";
  });
  await stage.apply(MANIFESTS.denyWrites);
  await claims.check("AuthorizationPolicy by method: DELETE is refused before anything else is asked", async () => {
    const denied = async () =>
      (await ask(stage, shopper, DETAILS, "-X", "DELETE", ...STATUS)) === "RBAC: access denied 403";
    await eventually("the refusal", denied, SETTLE_MS);
    const get = await ask(stage, shopper, DETAILS, ...STATUS);
    must(get === "fault filter abort 555", `GET is answered ${get}`);
    return "403 RBAC: access denied";
  });
  for (const manifest of [MANIFESTS.denyWrites, MANIFESTS.fault, MANIFESTS.thirds, MANIFESTS.subsets]) {
    await stage.remove(manifest);
  }
  await stage.apply(NAMESPACE);
  await claims.check("without the label nothing goes by it any more", async () => {
    const passed = async () => (await ask(stage, shopper, REVIEWS, "-i")).includes("server: istio-envoy");
    await eventually("an answer that has not", async () => !(await passed()), SETTLE_MS);
    return "as before";
  });
}

const STATUS = ["-w", " %{http_code}"];

async function ask(stage: Stage, from: StagePod, url: string, ...curl: readonly string[]): Promise<string> {
  return (await stage.exec(from, ["curl", "-s", "--max-time", "5", ...curl, url])).stdout;
}

/** `v1:10,v2:3`: which versions of reviews answer so many requests, in their order. */
async function versions(stage: Stage, from: StagePod, n: number, curl: readonly string[] = []): Promise<string> {
  const text = await ask(stage, from, `${REVIEWS}?[1-${n}]`, ...curl);
  const counts = new Map<string, number>();
  for (const [, version = ""] of text.matchAll(/"pod":"reviews-(v\d)/g)) {
    counts.set(version, (counts.get(version) ?? 0) + 1);
  }
  return [...counts]
    .sort()
    .map(([version, count]) => `${version}:${count}`)
    .join();
}

/** Undefined while not all three of them have their part. */
async function thirds(stage: Stage, from: StagePod): Promise<string | undefined> {
  const shares = await versions(stage, from, SHARED_OUT);
  const counts = [...shares.matchAll(/:(\d+)/g)].map(([, count]) => Number(count));
  return counts.length === 3 && counts.every((count) => count >= LEAST) ? shares : undefined;
}
