/** CPU time of the whole machine, so that softirq and kernel threads count, wherever the kernel books them. */
import { readFileSync } from "node:fs";

/** Ticks per second of /proc/stat: USER_HZ, 100 on every architecture that we build for. */
const TICKS_PER_SECOND = 100;

/** Seconds that the machine's cores were not idle, summed over cores, since boot. */
export function busySeconds(stat: string = readFileSync("/proc/stat", "utf8")): number {
  const line = /^cpu {2}(.*)$/m.exec(stat)?.[1];
  if (line === undefined) throw new Error("/proc/stat has no line for all cores");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(" ").map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
