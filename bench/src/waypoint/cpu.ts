/** CPU time of one process with all its threads. */
import { readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat behind the name in brackets: user and system time are the 12th and 13th. */
const USER = 11;
const SYSTEM = 12;

export function cpuSecondsOf(pid: number, stat: string = readFileSync(`/proc/${pid}/stat`, "utf8")): number {
  // The name may hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[USER]) + Number(fields[SYSTEM])) / TICKS_PER_SECOND;
}
