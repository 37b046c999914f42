/**
 * The same random requests through a waypoint and through Envoy, configured alike, to the same server: clients and the
 * server must see the same. What is drawn follows from WEFT_DIFFERENTIAL_SEED; WEFT_DIFFERENTIAL_ONLY asks for one
 * request of it, WEFT_DIFFERENTIAL_REQUESTS for more of each service.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { EnvoyProcess } from "../helpers/envoy-process.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";
import { envoyConfig } from "./differential/envoy-config.ts";
import { type Answer, Http1Client } from "./differential/http1-client.ts";
import { askHttp2 } from "./differential/http2-client.ts";
import { unknownOf } from "./differential/known.ts";
import { Random } from "./differential/random.ts";
import { http1Bytes, requestOf, type TestRequest } from "./differential/requests.ts";
import { type Rule, rulesOf } from "./differential/rules.ts";
import { MIRROR_IP, Upstream } from "./differential/upstream.ts";
import { type Difference, viewOf } from "./differential/view.ts";
import { programOf } from "./differential/weft-program.ts";

const SEED = Number(process.env.WEFT_DIFFERENTIAL_SEED ?? 1);
const ONLY = process.env.WEFT_DIFFERENTIAL_ONLY === undefined ? undefined : Number(process.env.WEFT_DIFFERENTIAL_ONLY);
const SERVICES = ["alpha", "beta", "gamma", "delta"];
const RULES_EACH = 14;
const REQUESTS_EACH = Number(process.env.WEFT_DIFFERENTIAL_REQUESTS ?? 120);
const AT_ONCE = 8;
const LOG_FIELDS = [
  "code=%RESPONSE_CODE%",
  "flags=%RESPONSE_FLAGS%",
  "details=%RESPONSE_CODE_DETAILS%",
  "route=%ROUTE_NAME%",
];
const ROUNDS = 3;
const SETTLE_MS = 3_000;
const SHOWN = 200;
/** Between the seeds of runs, so that their requests are others. */
const SPREAD = 1_000_003;
const ACCESS_LOG = `id=%REQ(X-DIFF-ID)% | ${LOG_FIELDS.join(" | ")}\n`;

interface Side {
  readonly name: "weft" | "envoy";
  readonly ports: ReadonlyMap<string, number>;
  readonly text: readonly string[];
}

let folder: string;
let upstream: Upstream;
let waypoint: WaypointProcess;
let envoy: EnvoyProcess;
let sides: Side[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weft-differential-"));
  upstream = await Upstream.start();
  const random = new Random(SEED);
  const rules = new Map(SERVICES.map((name): [string, Rule[]] => [name, rulesOf(random, RULES_EACH)]));
  await startWaypoint(rules);
  await startEnvoy(rules);
}, 60_000);

afterAll(async () => {
  await Promise.all([waypoint?.stop("SIGKILL"), envoy?.stop()]);
  upstream?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function startWaypoint(rules: ReadonlyMap<string, readonly Rule[]>): Promise<void> {
  const ports = [
    { name: "http", port: 80, targetPort: upstream.http1Port },
    { name: "http2", port: 81, targetPort: upstream.http2Port },
  ];
  const program = programOf({
    services: [...SERVICES, "echo", "shadow"].map((name) => ({ name, app: name, ports })),
    pods: [
      { app: "echo", version: "v1", ip: "127.0.0.2" },
      { app: "echo", version: "v2", ip: "127.0.0.3" },
      { app: "shadow", version: "v1", ip: MIRROR_IP },
    ],
    destinationRules: [
      { host: "echo", subsets: ["v1", "v2", "none"].map((version) => ({ name: version, labels: { version } })) },
    ],
    rules,
    accessLog: ACCESS_LOG,
  });
  const path = join(folder, "program.json");
  writeFileSync(path, JSON.stringify(program));
  waypoint = await WaypointProcess.start({ LOCAL_XDS_PATH: path });
  await waypoint.ready();
  const listening = new Map<string, number>();
  for (const name of SERVICES) listening.set(name, await waypoint.port(name));
  sides = [{ name: "weft", ports: listening, text: waypoint.text }];
}

async function startEnvoy(rules: ReadonlyMap<string, readonly Rule[]>): Promise<void> {
  const { http1Port, http2Port } = upstream;
  const clusters = [
    { name: "echo/v1/80", http2: false, endpoints: [{ ip: "127.0.0.2", port: http1Port }] },
    { name: "echo/v2/80", http2: false, endpoints: [{ ip: "127.0.0.3", port: http1Port }] },
    { name: "echo/v1/81", http2: true, endpoints: [{ ip: "127.0.0.2", port: http2Port }] },
    { name: "echo/v2/81", http2: true, endpoints: [{ ip: "127.0.0.3", port: http2Port }] },
    { name: "echo/none/80", http2: false, endpoints: [] },
    { name: "shadow//80", http2: false, endpoints: [{ ip: MIRROR_IP, port: http1Port }] },
  ];
  envoy = await EnvoyProcess.start(envoyConfig(rules, clusters, ACCESS_LOG));
  sides.push({ name: "envoy", ports: await envoy.ports(), text: envoy.text });
}

function idOf({ name }: Side, round: number, number: number): string {
  return `${name}-${round}-${number}`;
}

async function ask(side: Side, service: string, request: TestRequest, id: string): Promise<Answer | undefined> {
  const port = side.ports.get(service) ?? 0;
  if (request.protocol === "2") return askHttp2(port, request, id);
  const client = await Http1Client.connect(port);
  const { head, body } = http1Bytes(request, id);
  client.write(head);
  if (request.headers.some(([name]) => name === "expect")) await client.anything();
  client.write(body);
  try {
    return await client.answer(request.method);
  } catch {
    return undefined;
  } finally {
    client.close();
  }
}

/** Lines of the access log by request. */
function logsOf({ text }: Side): ReadonlyMap<string, string> {
  const lines = text.map((line) => /^id=(\S+) \| (.*)$/.exec(line) ?? []);
  return new Map(lines.map(([, id = "", rest = ""]) => [id, rest]));
}

interface Case {
  readonly number: number;
  readonly service: string;
  readonly request: TestRequest;
}

function casesOf(): Case[] {
  const cases = SERVICES.flatMap((service, at) =>
    Array.from({ length: REQUESTS_EACH }, (_, index): Case => {
      const number = at * REQUESTS_EACH + index;
      return { number, service, request: requestOf(new Random(SEED * SPREAD + number)) };
    }),
  );
  return cases.filter(({ number }) => ONLY === undefined || number === ONLY);
}

/** Those that both sides do not treat alike, with what differs. */
async function differing(cases: readonly Case[], round: number): Promise<Map<Case, Difference[]>> {
  const answers = new Map<string, Answer | undefined>();
  const pending = cases.flatMap((each) => sides.map((side) => ({ ...each, side })));
  const worker = async () => {
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      const id = idOf(next.side, round, next.number);
      answers.set(id, await ask(next.side, next.service, next.request, id));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const compare = () => {
    const logs = sides.map(logsOf);
    const found = new Map<Case, Difference[]>();
    for (const each of cases) {
      const [weft = new Map(), theirs = new Map()] = sides.map((side, at) => {
        const id = idOf(side, round, each.number);
        return viewOf(answers.get(id), upstream.attempts.get(id) ?? [], logs[at]?.get(id));
      });
      const unknown = unknownOf(each.request, weft, theirs);
      if (unknown.length > 0) found.set(each, unknown);
    }
    return found;
  };
  // Mirrors and logs come when they come.
  await eventually("the same", () => compare().size === 0, SETTLE_MS).catch(() => undefined);
  return compare();
}

function describeCase({ number, service, request }: Case, differences: readonly Difference[]): string {
  const what = differences.map(({ key, weft, envoy }) => `  ${key}: weft ${short(weft)}, envoy ${short(envoy)}`);
  const replay = `WEFT_DIFFERENTIAL_SEED=${SEED} WEFT_DIFFERENTIAL_ONLY=${number}`;
  return [`${replay}, ${service}: ${JSON.stringify(request).slice(0, 3 * SHOWN)}`, ...what].join("\n");
}

function short(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

it(`shows clients and the server the same as Envoy does (seed ${SEED})`, async () => {
  let found = await differing(casesOf(), 0);
  // What is a matter of time on a busy machine is not so again and again.
  for (let round = 1; round < ROUNDS && found.size > 0; round++) found = await differing([...found.keys()], round);
  expect([...found].map(([each, differences]) => describeCase(each, differences)).join("\n")).toBe("");
}, 110_000);
