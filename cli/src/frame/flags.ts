/** Flags: what commands declare, and those that all of them have. */

export interface Flag {
  readonly type: "string" | "boolean";
  readonly short?: string;
  /** May be given several times. */
  readonly multiple?: boolean;
  /** What stands for the value in help, such as `NODE`. */
  readonly value?: string;
  /** The only values that are taken. */
  readonly choices?: readonly string[];
  /** Another spelling, that of istioctl for instance. */
  readonly alias?: string;
  /** One line of help. */
  readonly about: string;
}

export type Flags = Readonly<Record<string, Flag>>;

type ValueOf<F extends Flag> = F extends { type: "boolean" }
  ? boolean
  : F extends { multiple: true }
    ? readonly string[]
    : string | undefined;

/** Absent booleans are false, absent lists are empty. */
export type FlagValues<F extends Flags> = { readonly [Name in keyof F]: ValueOf<F[Name]> };

export const FORMATS = ["table", "wide", "log", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

/** Of every command. */
export const COMMON_FLAGS = {
  help: { type: "boolean", short: "h", about: "show what the command does, its flags and examples" },
  "no-color": { type: "boolean", about: "no colours, even on a terminal (as NO_COLOR)" },
} as const satisfies Flags;

/** Of every command that looks at a cluster. */
export const CLUSTER_FLAGS = {
  kubeconfig: { type: "string", value: "FILE", about: "kubeconfig (default: $KUBECONFIG, then ~/.kube/config)" },
  context: { type: "string", value: "NAME", about: "context of the kubeconfig (default: its current one)" },
  namespace: { type: "string", short: "n", value: "NAMESPACE", about: "namespace (default: that of the context)" },
  "all-namespaces": { type: "boolean", short: "A", about: "all namespaces" },
  "mesh-namespace": {
    type: "string",
    short: "i",
    value: "NAMESPACE",
    alias: "istioNamespace",
    about: "where the mesh itself is installed (default: istio-system)",
  },
} as const satisfies Flags;

/** Of every command that prints objects. */
export function outputFlag(formats: readonly Format[]): Flags {
  return {
    output: {
      type: "string",
      short: "o",
      value: "FORMAT",
      // What istioctl calls a table.
      choices: formats[0] === "table" ? [...formats, "short"] : formats,
      about: `one of ${formats.join(", ")} (default: ${formats[0]})`,
    },
  };
}
