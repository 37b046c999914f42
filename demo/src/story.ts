/** The demo itself: five acts (the second is in direct-act.ts, the last in waypoint-act.ts), each told from what agents, pods and the wire say, and each checked. */
import { randomBytes } from "node:crypto";
import { eventually } from "#lib/eventually.ts";
import type { AccessLine } from "./access-log.ts";
import { type Claims, must } from "./claims.ts";
import { CONVERSATION_HEAD, conversationRows, conversations, USUAL_IDENTITY } from "./conversations.ts";
import type { Layout } from "./layout.ts";
import { MANIFESTS } from "./manifests.ts";
import { sumOf } from "./metrics-text.ts";
import { answers, getPages, type Page, PRODUCTPAGE } from "./shopping.ts";
import type { Stage, StagePod, WireReport } from "./stage.ts";

/** Enough that all three versions of reviews are met: missing one has odds of 1 in 60,000. */
const PAGES = 30;
const PLAIN_PAGES = 6;
const BOOKINFO_PODS = 6;
const SETTLE_MS = 20_000;
const STRICT_POLICY = "istio-system/istio_converted_static_strict";
const DENY_POLICY = "bookinfo/ratings-not-for-reviews";

export interface Cast {
  readonly shopper: StagePod;
  readonly outsider: StagePod;
  readonly bookinfo: readonly StagePod[];
}

export interface StoryOptions {
  readonly stage: Stage;
  readonly claims: Claims;
  readonly layout: Layout;
  readonly say: (text: string) => void;
}

/** Deploys Bookinfo and both callers, and waits until everybody is ready and the mesh has those who belong to it. */
export async function deploy({ stage, claims, say, layout }: StoryOptions): Promise<Cast> {
  say(layout.heading("Bookinfo, in a namespace labelled istio.io/dataplane-mode: ambient"));
  await stage.apply(MANIFESTS.bookinfo);
  await stage.apply(MANIFESTS.clients);
  let cast: Cast | undefined;
  await claims.check("every pod of the namespace is ready and enrolled, the one outside is not", async () => {
    cast = await eventually("all pods are ready and enrolled", () => castOf(stage), 60_000);
    must(!cast.outsider.enrolled, "the pod outside the mesh is enrolled");
    return `${cast.bookinfo.length + 1} enrolled pods`;
  });
  if (cast === undefined) throw new Error("Bookinfo did not come up");
  say(layout.table(["pod", "node", "address", "in the mesh"], podRows(cast)));
  await claims.check("pods are spread over both nodes", () => {
    const nodes = new Set(cast?.bookinfo.map((pod) => pod.node));
    must(nodes.size === 2, `they are on ${[...nodes].join(", ")}`);
    return [...nodes].join(", ");
  });
  return cast;
}

/** Throws an error that names who is still missing. */
async function castOf(stage: Stage): Promise<Cast> {
  const [inside, outside] = [await stage.pods("bookinfo"), await stage.pods("outside")];
  const shopper = inside.find((pod) => pod.name === "shopper");
  const outsider = outside.find((pod) => pod.name === "outsider");
  const bookinfo = inside.filter((pod) => pod !== shopper);
  must(shopper !== undefined && outsider !== undefined && bookinfo.length >= BOOKINFO_PODS, "pods are not made yet");
  must(outsider.ready, "outsider is not ready");
  const late = inside.filter((pod) => !pod.ready || !pod.enrolled);
  const what = late.map((pod) => `${pod.name} on ${pod.node} is ${pod.ready ? "not enrolled" : "not ready"}`);
  must(late.length === 0, what.join(", "));
  return { shopper, outsider, bookinfo };
}

function podRows(cast: Cast) {
  return [...cast.bookinfo, cast.shopper, cast.outsider].map((pod) => [
    pod.name,
    pod.node,
    pod.ip,
    pod.enrolled ? ({ text: "yes", style: "green" } as const) : ({ text: "no", style: "yellow" } as const),
  ]);
}

/** Act 1: traffic, who it was, and what the wire showed. */
export async function traffic({ stage, claims, say, layout }: StoryOptions, cast: Cast): Promise<void> {
  say(layout.heading(`${PAGES} pages for a pod in the mesh, a few for one outside`));
  const secret = `secret-${randomBytes(8).toString("hex")}`;
  let pages: Page[] = [];
  const meshWire = await stage.listenOnWire(secret, async () => {
    pages = await getPages(stage, cast.shopper, PAGES, secret);
  });
  let plainPages: Page[] = [];
  const plainWire = await stage.listenOnWire(secret, async () => {
    plainPages = await getPages(stage, cast.outsider, PLAIN_PAGES, secret);
  });
  await claims.check("every page is whole: details, reviews of all three versions, stars from v2 and v3", () =>
    wholePages(pages),
  );
  await claims.check("productpage sees the client's own address", () => {
    const seen = new Set(pages.map((page) => page.client));
    must(seen.size === 1 && seen.has(cast.shopper.ip), `it saw ${[...seen].join(", ")}`);
    return cast.shopper.ip;
  });
  await claims.check("between the nodes there is TLS, and never the text that the requests carried", () =>
    secretWire(meshWire),
  );
  await claims.check("the same listener does read what a pod outside the mesh sends", () => {
    must(plainPages.length === PLAIN_PAGES, `${plainPages.length} of ${PLAIN_PAGES} pages came`);
    must(plainWire.markerPackets > 0, "it does not: what it says of the tunnel is worth nothing");
    return `${plainWire.markerPackets} packets with the text`;
  });
  const lines = await settledLines(stage, cast);
  say(`\n  identities are ${USUAL_IDENTITY}…`);
  say(layout.table(CONVERSATION_HEAD, conversationRows(conversations(lines, nodesByPod(cast)))));
  await claims.check("both ends of each tunnel name both identities, and so does each direct connection's line", () =>
    bothEnds(lines),
  );
  await claims.check(
    "both ends count the same in istio_tcp_connections_opened_total, as mutual_tls or kernel_direct",
    () => bothMeters(stage),
  );
}

function wholePages(pages: readonly Page[]): string {
  must(pages.length === PAGES, `${pages.length} of ${PAGES} pages came`);
  must(
    pages.every((page) => page.details && page.reviews !== undefined && page.stars !== "missing"),
    "some lack a part",
  );
  const versions = [...new Set(pages.map((page) => page.reviews))].sort();
  must(versions.join() === "v1,v2,v3", `only reviews ${versions.join(", ")} answered`);
  must(
    pages.some((page) => page.stars === "shown"),
    "no page has stars",
  );
  return `${pages.length} pages, reviews ${versions.join(", ")}`;
}

function secretWire(wire: WireReport): string {
  must(wire.lost === 0, `the listener lost ${wire.lost} packets and cannot tell`);
  must(wire.markerPackets === 0, `${wire.markerPackets} packets carried it in the clear`);
  must(wire.tunnelBytes > 0 && wire.tlsRecords > 0, "no TLS on the tunnel port");
  return `${wire.packets} packets, ${wire.tlsRecords} TLS records, ${wire.tunnelBytes} bytes on port 15008`;
}

/** Access lines are written when connections end, and a little later: waits until the calls of act 1 are all there. */
async function settledLines(stage: Stage, cast: Cast): Promise<AccessLine[]> {
  const complete = async (): Promise<AccessLine[] | undefined> => {
    const lines = await allLines(stage);
    const from = (pod: StagePod, ...directions: AccessLine["direction"][]): number =>
      lines.filter((line) => directions.includes(line.direction) && line.source.pod === pod.name).length;
    const all = from(cast.shopper, "outbound", "direct") >= PAGES && from(cast.outsider, "inbound") >= PLAIN_PAGES;
    return all ? lines : undefined;
  };
  return eventually("the access logs have all calls", complete, SETTLE_MS);
}

async function allLines(stage: Stage): Promise<AccessLine[]> {
  return (await Promise.all(stage.nodes.map((node) => node.accessLog()))).flat();
}

function bothEnds(lines: readonly AccessLine[]): string {
  const good = lines.filter((line) => line.error === undefined);
  const key = (line: AccessLine): string => `${line.source.identity} → ${line.destination.identity}`;
  const pairs = (told: readonly AccessLine[]): Set<string> => new Set(told.map(key));
  const tunnels = good.filter((line) => line.tunnelTo !== undefined);
  const source = pairs(tunnels.filter((line) => line.direction === "outbound"));
  const destination = pairs(tunnels.filter((line) => line.direction === "inbound"));
  const direct = pairs(good.filter((line) => line.direction === "direct"));
  const account = (name: string): string => `spiffe://cluster.local/ns/bookinfo/sa/bookinfo-${name}`;
  for (const [from, to] of [
    ["shopper", "productpage"],
    ["productpage", "details"],
    ["productpage", "reviews"],
    ["reviews", "ratings"],
  ] as const) {
    const pair = `${account(from)} → ${account(to)}`;
    must(source.has(pair) === destination.has(pair), `only one end tells of the tunnel ${pair}`);
    must(source.has(pair) || direct.has(pair), `nobody tells of ${pair}`);
  }
  return `${source.size} pairs of identities by tunnel, ${direct.size} directly`;
}

async function bothMeters(stage: Stage): Promise<string> {
  const samples = (await Promise.all(stage.nodes.map((node) => node.metrics()))).flat();
  const opened = (reporter: string, connection_security_policy: string): number =>
    sumOf(samples, "istio_tcp_connections_opened_total", {
      reporter,
      connection_security_policy,
      destination_canonical_service: "productpage",
    });
  const counts = ["mutual_tls", "kernel_direct"].map((security) => {
    const [source, destination] = [opened("source", security), opened("destination", security)];
    must(source === destination, `as ${security} sources say ${source}, destinations ${destination}`);
    return source;
  });
  const [tunnels = 0, direct = 0] = counts;
  must(tunnels + direct >= PAGES, `only ${tunnels + direct} were counted`);
  return `to productpage ${tunnels} by tunnel, ${direct} directly`;
}

/** Act 3: STRICT keeps out who has no identity. */
export async function strict({ stage, claims, say, layout }: StoryOptions, cast: Cast): Promise<void> {
  say(layout.heading("PeerAuthentication STRICT"));
  const url = `${PRODUCTPAGE}/healthz/live`;
  await claims.check("before, the pod outside the mesh is answered", async () => {
    must(await answers(stage, cast.outsider, url), "it is not");
    return "200";
  });
  await stage.apply(MANIFESTS.strict);
  await claims.check("then it is refused", async () => {
    await eventually("the outsider is refused", async () => !(await answers(stage, cast.outsider, url)), SETTLE_MS);
    return "connection closed";
  });
  await claims.check("and the destination's agent says which policy did it", () => deniedBy(stage, STRICT_POLICY));
  await claims.check("pods of the mesh notice nothing", async () =>
    wholePages(await getPages(stage, cast.shopper, PAGES, "strict")),
  );
}

/** Act 4: one workload is stopped by name, the rest goes on. */
export async function policy({ stage, claims, say, layout }: StoryOptions, cast: Cast): Promise<void> {
  say(layout.heading("AuthorizationPolicy: ratings answers everyone but reviews"));
  const starless = async (): Promise<boolean> => {
    const starred = (await getPages(stage, cast.shopper, PAGES, "policy")).filter((page) => page.stars !== undefined);
    return starred.length > 0 && starred.every((page) => page.stars === "missing");
  };
  await stage.apply(MANIFESTS.ratingsNotForReviews);
  await claims.check("reviews gets no ratings any more: pages come without stars", async () => {
    await eventually("no page has stars", starless, SETTLE_MS);
    return "ratings are not available";
  });
  await claims.check("the access log names the policy", () => deniedBy(stage, DENY_POLICY));
  await claims.check("another workload still gets ratings", async () => {
    must(await answers(stage, cast.shopper, "http://ratings.bookinfo:9080/ratings/0"), "the shopper gets none");
    return "200 for bookinfo-shopper";
  });
  await stage.remove(MANIFESTS.ratingsNotForReviews);
  await claims.check("without the policy the stars are back", async () => {
    const starry = async (): Promise<boolean> =>
      (await getPages(stage, cast.shopper, PAGES, "after")).every((page) => page.stars !== "missing");
    await eventually("every page has its stars", starry, SETTLE_MS);
    return "stars shown";
  });
}

async function deniedBy(stage: Stage, name: string): Promise<string> {
  const find = async (): Promise<AccessLine | undefined> =>
    (await allLines(stage)).find((line) => line.direction !== "outbound" && line.policy === name);
  const line = await eventually(`a line of the access log names ${name}`, find, SETTLE_MS);
  return `${line.destination.pod}: ${line.error}`;
}

function nodesByPod(cast: Cast): (pod: string) => string | undefined {
  const nodes = new Map([...cast.bookinfo, cast.shopper, cast.outsider].map((pod) => [pod.name, pod.node]));
  const byIp = new Map([...cast.bookinfo, cast.shopper, cast.outsider].map((pod) => [pod.ip, pod.node]));
  return (pod) => nodes.get(pod) ?? byIp.get(pod);
}
