/** Resident memory of a process, after it has settled. */
import { readFileSync } from "node:fs";

const BYTES_PER_KB = 1024;
const SAMPLE_MS = 500;
/** Settled: this many samples in a row that differ by less than a percent. */
const CALM_SAMPLES = 6;
const CALM_SHARE = 0.01;

/** VmRSS in bytes. Throws when the process is gone. */
export function residentBytes(pid: number, status: string = readFileSync(`/proc/${pid}/status`, "utf8")): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kb === undefined) throw new Error(`process ${pid} has no resident memory: it has ended`);
  return Number(kb) * BYTES_PER_KB;
}

/** Resident bytes once they hold still, or at the deadline: collectors give memory back in idle time. */
export async function settledBytes(pid: number, withinMs = 30_000): Promise<number> {
  const deadline = performance.now() + withinMs;
  let last = residentBytes(pid);
  for (let calm = 0; calm < CALM_SAMPLES && performance.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    const now = residentBytes(pid);
    calm = Math.abs(now - last) < last * CALM_SHARE ? calm + 1 : 0;
    last = now;
  }
  return last;
}
