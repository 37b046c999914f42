/** What a running command has: where to print, the cluster, what the user chose. */
import type { Env } from "#lib/env.ts";
import type { KubeAccess } from "#lib/kube/access.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import type { Palette } from "../output/colour.ts";
import type { Printer } from "../output/printer.ts";

/** The streams and the environment of the process. */
export interface Surroundings {
  readonly env: Env;
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The way to a cluster that the command line and the environment name. */
export interface Cluster {
  readonly access: KubeAccess;
  readonly client: KubeClient;
  /** Of the context, for messages. */
  readonly description: string;
  /** The context's own namespace. */
  readonly defaultNamespace: string;
}

export interface Context {
  readonly env: Env;
  readonly signal: AbortSignal;
  readonly stdin: NodeJS.ReadableStream;
  /** Whether a person reads stdout. */
  readonly isTerminal: boolean;
  /** Text for stdout. */
  readonly out: (text: string) => void;
  /** A line for stderr. */
  readonly note: (line: string) => void;
  /** What is being done, on stderr while it lasts; only of work that may take long. */
  readonly progress: (text: string) => void;
  readonly print: Printer;
  readonly paint: Palette;
  /** The cluster, found when first asked for. Throws KubeAccessError. */
  readonly cluster: () => Cluster;
  /** `-n`, else the context's; undefined with `-A`. */
  readonly namespace: () => string | undefined;
  /** `-n` as it was given: for what is about the whole mesh unless somebody asks for less. */
  readonly givenNamespace: string | undefined;
  /** Where the mesh is installed. */
  readonly meshNamespace: string;
}
