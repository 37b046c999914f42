/** The kernel's maps of one agent with a large mesh in them: what one change costs, and what they weigh. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { type BpfPlane, type DirectCommand, loadAddon, type NetnsCookie } from "../../agent/src/native.ts";
import { removeCgroup } from "../../playground/src/system/cgroup.ts";
import { median } from "./stats.ts";

const NAME = "weft-bench-maps";
const PIN_DIR = `/sys/fs/bpf/${NAME}`;
const POD_IP = "10.255.255.1";
const ENDPOINTS_PER_SERVICE = 10;
const COMMANDS_PER_BATCH = 1_000;
const CHANGES = 2_000;
const SERVICE_PORT = 80;
const TARGET_PORT = 8080;

export interface LargeMaps {
  /** Median time of one change of a service: an endpoint less, or back. */
  readonly microsecondsPerChange: number;
  /** What the kernel says that all maps of the plane take. */
  readonly bytes: number;
}

/** A pod that has asked for `services` services of ten workloads each. `cgroup2`: its mount. */
export async function measureMaps(services: number, cgroup2: string): Promise<LargeMaps> {
  const cgroup = `${cgroup2}/${NAME}`;
  mkdirSync(`${cgroup}/pods`, { recursive: true });
  mkdirSync(`${cgroup}/agent`, { recursive: true });
  execFileSync("ip", ["netns", "add", NAME]);
  const addon = loadAddon();
  try {
    execFileSync("ip", ["-n", NAME, "address", "add", `${POD_IP}/32`, "dev", "lo"]);
    const plane = addon.loadBpf({ pinDir: PIN_DIR, podsCgroup: `${cgroup}/pods`, agentCgroup: `${cgroup}/agent` });
    try {
      const netnsPath = `/run/netns/${NAME}`;
      const pod = plane.capture({ id: 1, netnsPath, addresses: [POD_IP], dns: false });
      fill(plane, pod, services);
      return { microsecondsPerChange: changeCost(plane, pod, services), bytes: mapBytes() };
    } finally {
      plane.close();
    }
  } finally {
    addon.cleanupBpf(PIN_DIR);
    execFileSync("ip", ["netns", "del", NAME]);
    await removeCgroup(cgroup);
  }
}

function fill(plane: BpfPlane, pod: NetnsCookie, services: number): void {
  for (let first = 0; first < services; first += COMMANDS_PER_BATCH) {
    const length = Math.min(COMMANDS_PER_BATCH, services - first);
    carryOut(
      plane,
      Array.from({ length }, (_, i) => route(pod, first + i, ENDPOINTS_PER_SERVICE)),
    );
  }
}

function changeCost(plane: BpfPlane, pod: NetnsCookie, services: number): number {
  const times: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    // Spread over the services; every other time the endpoint comes back.
    const service = ((i >> 1) * 7919) % services;
    const change = route(pod, service, ENDPOINTS_PER_SERVICE - ((i + 1) % 2));
    const before = performance.now();
    carryOut(plane, [change]);
    times.push((performance.now() - before) * 1000);
  }
  return median(times);
}

function carryOut(plane: BpfPlane, commands: readonly DirectCommand[]): void {
  const [failure] = plane.direct(commands);
  if (failure !== undefined) throw new Error(failure);
}

function route(pod: NetnsCookie, service: number, endpoints: number): DirectCommand {
  return {
    op: "set-route",
    pod,
    destination: { ip: ipv4(172, service), port: SERVICE_PORT },
    endpoints: Array.from({ length: endpoints }, (_, i) => {
      const key = service * ENDPOINTS_PER_SERVICE + i + 1;
      return { key, weight: 1, address: { ip: ipv4(100, key), port: TARGET_PORT }, path: "agent" };
    }),
  };
}

function ipv4(first: number, index: number): string {
  return `${first}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
}

/** Of the maps that are pinned here; those that live with sockets have nothing in them now. */
function mapBytes(): number {
  const pins = execFileSync("find", [PIN_DIR, "-path", "*/maps/*", "-type", "f"], { encoding: "utf8" });
  return pins
    .trim()
    .split("\n")
    .map((pin) => execFileSync("/usr/sbin/bpftool", ["-j", "map", "show", "pinned", pin], { encoding: "utf8" }))
    .map((text) => (JSON.parse(text) as { bytes_memlock?: number }).bytes_memlock ?? 0)
    .reduce((sum, bytes) => sum + bytes, 0);
}
