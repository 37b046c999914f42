/** What each feature of Weft needs of a node's kernel. */

export interface KernelFeature {
  /** As the addon's probe names it. */
  readonly id: string;
  readonly since: readonly [major: number, minor: number];
  readonly what: string;
  /** What is not there without it. */
  readonly without: string;
  /** Of the kernel's configuration, where a kernel that is new enough may lack it all the same. */
  readonly option?: string;
  readonly required: boolean;
}

const NO_CAPTURE = "pods cannot be captured";

/** A test holds it against the probes (native/src/bpf/features.cc). The files of bpf/ say the same of each program. */
export const KERNEL_FEATURES: readonly KernelFeature[] = [
  {
    id: "btf",
    since: [5, 4],
    what: "its own type information (BTF)",
    without: NO_CAPTURE,
    option: "CONFIG_DEBUG_INFO_BTF",
    required: true,
  },
  {
    id: "cgroup-sock-addr",
    since: [5, 8],
    what: "cgroup socket address programs",
    without: NO_CAPTURE,
    option: "CONFIG_CGROUP_BPF",
    required: true,
  },
  { id: "sk-storage", since: [5, 8], what: "per-socket storage maps", without: NO_CAPTURE, required: true },
  { id: "sk-lookup", since: [5, 9], what: "socket lookup programs (sk_lookup)", without: NO_CAPTURE, required: true },
  {
    id: "netns-cookie",
    since: [5, 14],
    what: "cookies of sockets' network namespaces",
    without: NO_CAPTURE,
    required: true,
  },
  {
    id: "sockops-netns-cookie",
    since: [5, 15],
    what: "cookies of network namespaces in sockops programs",
    without: NO_CAPTURE,
    required: true,
  },
  {
    id: "set-retval",
    since: [5, 18],
    what: "bpf_set_retval",
    without: "a connection that is refused says EPERM, not ECONNREFUSED",
    required: false,
  },
  {
    id: "socket-destroy",
    since: [4, 9],
    what: "the ending of other processes' connections",
    without: "pods of one node talk through the agent, not directly",
    option: "CONFIG_INET_DIAG_DESTROY",
    required: false,
  },
  {
    id: "tcx",
    since: [6, 6],
    what: "tcx links",
    without: "packets of direct connections pass the node's network",
    required: false,
  },
];

/** The features that a kernel of this version has not; undefined when the version cannot be read. */
export function missingFeatures(version: string): readonly KernelFeature[] | undefined {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (match === null) return undefined;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return KERNEL_FEATURES.filter(({ since: [a, b] }) => major < a || (major === a && minor < b));
}

/** The features that a probe has not found on a node. */
export function absentFeatures(found: Readonly<Record<string, boolean>>): readonly KernelFeature[] {
  return KERNEL_FEATURES.filter(({ id }) => found[id] === false);
}

/** What to do about a feature that a kernel of this version lacks. */
export function remedy({ since, option }: KernelFeature, version: string): string {
  const isNew = missingFeatures(version)?.every(({ since: [a, b] }) => a !== since[0] || b !== since[1]) === true;
  if (isNew && option !== undefined) return `use a kernel with ${option}`;
  return `use kernel ${since.join(".")} or later`;
}
