/** What each feature of Weft needs of a node's kernel. */

export interface KernelFeature {
  readonly since: readonly [major: number, minor: number];
  readonly what: string;
  /** What is not there without it. */
  readonly without: string;
  readonly required: boolean;
}

/** The files of bpf/ say the same of each program. */
export const KERNEL_FEATURES: readonly KernelFeature[] = [
  {
    since: [5, 15],
    what: "cookies of network namespaces in sockops programs",
    without: "pods cannot be captured",
    required: true,
  },
  {
    since: [5, 18],
    what: "bpf_set_retval",
    without: "a connection that is refused says EPERM, not ECONNREFUSED",
    required: false,
  },
  {
    since: [6, 5],
    what: "bpf_sock_destroy",
    without: "pods of one node talk through the agent, not directly",
    required: false,
  },
  {
    since: [6, 6],
    what: "tcx",
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
