/** What BPF adds to a connect(): the run time of the connect program, as the kernel measures it. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";

const STATS = "/proc/sys/kernel/bpf_stats_enabled";

/** Microseconds per run of the IPv4 connect program at this cgroup while `load` runs. Measuring costs some itself. */
export async function connectMicroseconds(podsCgroup: string, load: () => Promise<unknown>): Promise<number> {
  const program = connectProgram(podsCgroup);
  const was = readFileSync(STATS, "utf8");
  writeFileSync(STATS, "1");
  try {
    const before = runs(program);
    await load();
    const after = runs(program);
    if (after.count === before.count) throw new Error("the connect program did not run");
    return (after.ns - before.ns) / (after.count - before.count) / 1000;
  } finally {
    writeFileSync(STATS, was);
  }
}

function connectProgram(podsCgroup: string): number {
  const id = statSync(podsCgroup).ino;
  const links = bpftool("link", "show") as { cgroup_id?: number; attach_type?: string; prog_id: number }[];
  const link = links.find((each) => each.cgroup_id === id && each.attach_type === "cgroup_inet4_connect");
  if (link === undefined) throw new Error(`no connect program at ${podsCgroup}`);
  return link.prog_id;
}

function runs(program: number): { ns: number; count: number } {
  const { run_time_ns: ns = 0, run_cnt: count = 0 } = bpftool("prog", "show", "id", String(program)) as {
    run_time_ns?: number;
    run_cnt?: number;
  };
  return { ns, count };
}

function bpftool(...argv: string[]): unknown {
  return JSON.parse(execFileSync("/usr/sbin/bpftool", ["-j", ...argv], { encoding: "utf8" }));
}
