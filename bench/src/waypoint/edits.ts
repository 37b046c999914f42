/** Latency through a waypoint with many routes while one of them is edited again and again, beside the same without. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { L7_TYPE_PREFIX, type L7TypeUrl } from "#lib/xds/types.ts";
import {
  Chain_Protocol,
  ClusterSchema,
  EndpointsSchema,
  ListenerSchema,
  RouteGroupSchema,
  type RouteSchema,
} from "#proto/l7_pb.ts";
import { FakeControl } from "../../../test/helpers/fake-control.ts";
import { TestCa } from "../../../test/helpers/pki.ts";
import { type Figure, type FigureName, figure } from "../aims.ts";
import type { Rounds } from "../rounds.ts";
import { median } from "../stats.ts";
import { LOAD_CORE, PROXY_CORE, type Program, type Running, start } from "./bed.ts";
import { pacedP99, type Target } from "./load.ts";
import { portOf, routePath, SCENARIOS, type Scenario, UPSTREAM_PORTS } from "./scenarios.ts";
import { upstreams } from "./servers.ts";
import { WEFT_BIN } from "./weft.ts";

const ROUTES = 5_000;
const ROUTES_PER_GROUP = 64;
const REQUESTS_PER_SECOND = 20_000;
const EDITS_PER_SECOND = 10;
/** Of edits for every one that a round has the time for: loads take a moment to begin and to end. */
const SPARE = 2;
const CLUSTER = "http1";
const LISTENER = "edited";

export interface EditResults {
  /** Milliseconds that 99 of 100 requests stay below. */
  readonly still: number;
  readonly edited: number;
}

export async function measureEdits(rounds: Rounds, progress: (text: string) => void): Promise<EditResults> {
  const folder = mkdtempSync(join(tmpdir(), "weft-bench-"));
  const running: Running[] = [];
  const [scenario] = SCENARIOS as [Scenario];
  const port = portOf("weft", scenario);
  const ca = await TestCa.create();
  const control = await FakeControl.start(ca);
  try {
    writeFileSync(join(folder, "root.pem"), ca.root);
    const program = new EditedProgram(control, port);
    for (const server of upstreams(folder)) running.push(await start(server));
    const waypoint = await start(process(folder, control, port));
    running.push(waypoint);
    const last = { ...scenario, path: routePath(ROUTES - 1) };
    const target: Target = { scenario: last, port, pid: waypoint.pid, folder, token: "" };
    const samples = { still: [] as number[], edited: [] as number[] };
    for (let round = 0; round < rounds.count; round++) {
      progress(`waypoint, ${ROUTES} routes at ${REQUESTS_PER_SECOND} requests/s: without edits, and with`);
      samples.still.push(await pacedP99(target, REQUESTS_PER_SECOND, rounds.seconds));
      const edits = program.edits(rounds.seconds * EDITS_PER_SECOND * SPARE);
      const editing = setInterval(() => program.tell(edits.shift()), 1000 / EDITS_PER_SECOND);
      try {
        samples.edited.push(await pacedP99(target, REQUESTS_PER_SECOND, rounds.seconds));
      } finally {
        clearInterval(editing);
      }
    }
    return { still: median(samples.still), edited: median(samples.edited) };
  } finally {
    await Promise.all(running.map((one) => one.stop()));
    control.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

export function editFigures({ still, edited }: EditResults): Partial<Record<FigureName, Figure>> {
  return { "waypoint.edit_p99_ratio": figure("waypoint.edit_p99_ratio", edited / still) };
}

/** What is sent of one edit. */
interface Edit {
  readonly group: { readonly name: string; readonly bytes: Uint8Array };
  readonly listener: Uint8Array;
  /** The group that this one is in the place of. */
  readonly before: string;
}

/** What a control plane sends of 5,000 routes, and of an edit of one. */
class EditedProgram {
  readonly #control: FakeControl;
  readonly #port: number;
  readonly #groups: string[] = [];
  #edits = 0;

  constructor(control: FakeControl, port: number) {
    this.#control = control;
    this.#port = port;
    this.#set("Cluster", CLUSTER, toBinary(ClusterSchema, create(ClusterSchema, { name: CLUSTER })));
    const endpoints = [{ ip: "127.0.0.1", port: UPSTREAM_PORTS[CLUSTER] }];
    this.#set(
      "Endpoints",
      CLUSTER,
      toBinary(EndpointsSchema, create(EndpointsSchema, { cluster: CLUSTER, endpoints })),
    );
    for (let first = 0; first < ROUTES; first += ROUTES_PER_GROUP) {
      const { name, bytes } = group(first, 0);
      this.#groups.push(name);
      this.#set("RouteGroup", name, bytes);
    }
    this.#set("Listener", LISTENER, this.#listener());
  }

  /** The next ones, made before they are told: making them is the control plane's work, and has no core of its own here. */
  edits(count: number): Edit[] {
    return Array.from({ length: count }, () => {
      this.#edits++;
      const at = this.#edits % this.#groups.length;
      const before = this.#groups[at] as string;
      const made = group(at * ROUTES_PER_GROUP, this.#edits);
      this.#groups[at] = made.name;
      return { group: made, listener: this.#listener(), before };
    });
  }

  tell(edit: Edit | undefined): void {
    if (edit === undefined) throw new RangeError("the load runs on when there are no more edits");
    this.#set("RouteGroup", edit.group.name, edit.group.bytes);
    this.#set("Listener", LISTENER, edit.listener);
    this.#control.remove(`${L7_TYPE_PREFIX}RouteGroup`, edit.before);
  }

  #listener(): Uint8Array {
    const listener = create(ListenerSchema, {
      name: LISTENER,
      address: "127.0.0.1",
      port: this.#port,
      chain: {
        protocol: Chain_Protocol.HTTP,
        http: { hosts: [{ name: "all", domains: ["*"], routeGroups: this.#groups }] },
      },
    });
    return toBinary(ListenerSchema, listener);
  }

  #set(type: "Cluster" | "Endpoints" | "Listener" | "RouteGroup", name: string, bytes: Uint8Array): void {
    this.#control.setRaw(`${L7_TYPE_PREFIX}${type}` satisfies L7TypeUrl, name, bytes);
  }
}

function group(first: number, edition: number): Edit["group"] {
  const name = `${first}-${edition}`;
  const routes = Array.from({ length: Math.min(ROUTES_PER_GROUP, ROUTES - first) }, (_, index) =>
    // An edit that requests do not notice: how long they may take.
    route(first + index, index === 0 ? 60_000 + edition : 60_000),
  );
  return { name, bytes: toBinary(RouteGroupSchema, create(RouteGroupSchema, { name, routes })) };
}

function route(index: number, timeoutMs: number): MessageInitShape<typeof RouteSchema> {
  return {
    name: `route-${index}`,
    match: { path: { kind: { case: "prefix", value: routePath(index) } } },
    action: {
      case: "forward",
      value: { clusters: [{ cluster: CLUSTER, weight: 1 }], timeoutMs: BigInt(timeoutMs) },
    },
  };
}

function process(folder: string, control: FakeControl, port: number): Program {
  return {
    argv: [WEFT_BIN],
    env: {
      XDS_ADDRESS: control.address,
      XDS_ROOT_CA: join(folder, "root.pem"),
      CA_ADDRESS: "",
      HBONE_ADDR: "",
      ADMIN_ADDR: "127.0.0.1:0",
      STATS_ADDR: "127.0.0.1:0",
      READINESS_ADDR: "127.0.0.1:0",
      WEFT_LOOPS: "1",
    },
    // What is no request has a core beside the one loop, as in any pod that is given more than one.
    cores: [LOAD_CORE, PROXY_CORE],
    port,
  };
}
