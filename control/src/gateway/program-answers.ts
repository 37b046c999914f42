/** What waypoints say of their programs: which resources their pods have refused, and why. */
import type { TypeUrl } from "#lib/xds/types.ts";
import type { ProgramAnswer } from "../xds/program-source.ts";

export interface Refusal {
  /** `namespace/name` of the pod. */
  readonly client: string;
  readonly type: TypeUrl;
  readonly name: string;
  readonly reason: string;
}

/** The state of one Gateway's program. */
export interface ProgramState {
  /** Pods that have said something. */
  readonly pods: number;
  readonly refusals: readonly Refusal[];
}

const NO_PODS: ProgramState = { pods: 0, refusals: [] };
/** Of one pod; a program that is all wrong need not be told resource by resource. */
const MAX_REFUSALS = 1_000;

export class ProgramAnswers {
  /** Gateway, then pod, then `type name`. */
  readonly #pods = new Map<string, Map<string, Map<string, Refusal>>>();
  readonly #listeners = new Set<(gateway: string) => void>();

  /** `listener` is called with the Gateway's key when what its pods refuse, or who they are, has changed. */
  onChange(listener: (gateway: string) => void): void {
    this.#listeners.add(listener);
  }

  state(gateway: string): ProgramState {
    const pods = this.#pods.get(gateway);
    if (pods === undefined) return NO_PODS;
    return { pods: pods.size, refusals: [...pods.values()].flatMap((refused) => [...refused.values()]) };
  }

  note({ gateway, client, type, names, error }: ProgramAnswer): void {
    const pods = this.#pods.get(gateway) ?? new Map<string, Map<string, Refusal>>();
    this.#pods.set(gateway, pods);
    const known = pods.get(client);
    const refused = known ?? new Map<string, Refusal>();
    pods.set(client, refused);
    const before = describe(refused);
    // An answer is about all that was in one response: what it does not name was taken.
    for (const name of names) refused.delete(`${type} ${name}`);
    for (const [name, reason] of error === undefined ? [] : reasons(names, error)) {
      if (refused.size < MAX_REFUSALS) refused.set(`${type} ${name}`, { client, type, name, reason });
    }
    if (known === undefined || describe(refused) !== before) this.#tell(gateway);
  }

  /** A pod's stream has ended. */
  forget(gateway: string, client: string): void {
    const pods = this.#pods.get(gateway);
    if (pods?.delete(client) !== true) return;
    if (pods.size === 0) this.#pods.delete(gateway);
    this.#tell(gateway);
  }

  #tell(gateway: string): void {
    for (const listener of this.#listeners) listener(gateway);
  }
}

function describe(refused: ReadonlyMap<string, Refusal>): string {
  return [...refused].map(([key, { reason }]) => `${key}: ${reason}`).join("\n");
}

/** Takes `name: reason; name: reason` apart by the names that can be in it; what names none is said of all of them. */
export function reasons(names: readonly string[], error: string): [name: string, reason: string][] {
  const found = names
    .map((name) => ({ name, at: error.startsWith(`${name}: `) ? 0 : error.indexOf(`; ${name}: `) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  if (found.length === 0) return names.length === 0 ? [["", error]] : names.map((name) => [name, error]);
  return found.map(({ name, at }, index) => {
    const start = at + name.length + (at === 0 ? 2 : 4);
    return [name, error.slice(start, found[index + 1]?.at)];
  });
}
