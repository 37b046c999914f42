/** Which Linux capabilities a container's processes have. */
import type { SecurityContext } from "../kinds/types.ts";

/** What container runtimes leave to root when nothing else is asked for. */
const DEFAULT = [
  "chown",
  "dac_override",
  "fowner",
  "fsetid",
  "kill",
  "setgid",
  "setuid",
  "setpcap",
  "net_bind_service",
  "net_raw",
  "sys_chroot",
  "mknod",
  "audit_write",
  "setfcap",
];

/** Arguments of setpriv(1) that put a process into this context. Empty: it keeps everything. */
export function setprivArguments(context: SecurityContext | undefined, pod: SecurityContext | undefined): string[] {
  const user = context?.runAsUser ?? pod?.runAsUser;
  const group = context?.runAsGroup ?? pod?.runAsGroup ?? user;
  const identity =
    user === undefined && group === undefined
      ? []
      : [...(user === undefined ? [] : [`--reuid=${user}`]), `--regid=${group}`, "--clear-groups"];
  if (context?.privileged === true) return identity;
  const drop = new Set((context?.capabilities?.drop ?? []).map(plainName));
  const add = (context?.capabilities?.add ?? []).map(plainName);
  if (add.includes("all")) return identity;
  const kept = new Set([...(drop.has("all") ? [] : DEFAULT.filter((each) => !drop.has(each))), ...add]);
  const bounding = ["-all", ...[...kept].map((each) => `+${each}`)].join(",");
  return [`--bounding-set=${bounding}`, "--inh-caps=-all", ...identity];
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/^cap_/, "");
}
