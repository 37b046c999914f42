import type { Reason } from "#lib/reasons.ts";
import type { RawH2 } from "../../helpers/h2-raw.ts";
import type { MeshBed, MeshPod } from "../../helpers/mesh-bed.ts";
import type { Svid } from "../../helpers/pki.ts";

/** Ports of the victim's applications. */
export const ECHO_PORT = 8080;
export const RECORDER_PORT = 8081;
export const FAUCET_PORT = 8082;

export interface Arena {
  readonly mesh: MeshBed;
  /** The pod that is attacked. Runs echo, recorder and faucet. */
  readonly victim: MeshPod;
  /** Another pod of the same agent. */
  readonly bystander: MeshPod;
  /** A certificate that the mesh trusts: attackers may be members. */
  readonly member: Svid;
  /** Opens a raw connection to the victim's 15008 as the member. */
  readonly dial: () => Promise<RawH2>;
  /** What the recorder has printed so far. */
  readonly recorded: () => string;
}

/** One attack. `attack` throws when the victim did not refuse as it must. */
export interface Threat {
  /** Class of attack as docs/security.md lists it, with the public cases there. */
  readonly class: string;
  readonly name: string;
  /** Counters of which at least one must have grown by `times` (default 1). */
  readonly counted: readonly Reason[];
  readonly times?: number;
  /** How much more resident memory the agent may need at any time during it. Default: DEFAULT_MEMORY_BYTES. */
  readonly memoryBytes?: number;
  /** How much CPU time it may cost the agent. Default: DEFAULT_CPU_SECONDS. */
  readonly cpuSeconds?: number;
  readonly attack: (arena: Arena) => Promise<void>;
}

/** A handful of TLS connections, their buffers, and what the garbage collector of the process happens to do. */
export const DEFAULT_MEMORY_BYTES = 12 * 1024 * 1024;
/** Hundreds of times what it takes, for machines that are busy or slow; a flood without a limit takes more. */
export const DEFAULT_CPU_SECONDS = 1;
