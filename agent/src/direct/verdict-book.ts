/**
 * The verdicts that routes of BPF need, each once however many routes lead to the same pod and port. A verdict lives as
 * long as a route needs it; which pods it is about is looked at anew whenever their policies change.
 */
import type { LocalPod } from "../enroll/local-pods.ts";
import type { DirectCommand, NetnsCookie, VerdictKey } from "../native.ts";
import type { Judge } from "./judge.ts";

export interface Verdict {
  readonly key: VerdictKey;
  readonly source: LocalPod;
  readonly destination: LocalPod;
  uses: number;
  /** Policy of the last denial, empty when no ALLOW matched; undefined when it has never denied. */
  denial: string | undefined;
}

export class VerdictBook {
  readonly #judge: Judge;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #byDestination = new Map<NetnsCookie, Set<Verdict>>();

  constructor(judge: Judge) {
    this.#judge = judge;
  }

  get size(): number {
    return this.#verdicts.size;
  }

  /** Another route needs it. To be given back with `release`. */
  acquire(
    source: LocalPod,
    destination: LocalPod,
    { port, family }: Pick<VerdictKey, "port" | "family">,
    commands: DirectCommand[],
  ): Verdict {
    const key = { source: source.cookie, destination: destination.cookie, port, family };
    const id = verdictId(key);
    const known = this.#verdicts.get(id);
    if (known !== undefined && known.source.id === source.id && known.destination.id === destination.id) {
      known.uses++;
      return known;
    }
    const verdict: Verdict = { key, source, destination, uses: 1, denial: undefined };
    if (known !== undefined) this.#forget(id, known);
    this.#verdicts.set(id, verdict);
    const siblings = this.#byDestination.get(destination.cookie);
    if (siblings === undefined) this.#byDestination.set(destination.cookie, new Set([verdict]));
    else siblings.add(verdict);
    this.#decide(verdict, commands);
    return verdict;
  }

  release(verdict: Verdict, commands: DirectCommand[]): void {
    if (--verdict.uses > 0) return;
    const id = verdictId(verdict.key);
    // Another pod of the same namespace has taken its place.
    if (this.#verdicts.get(id) !== verdict) return;
    this.#forget(id, verdict);
    commands.push({ op: "remove-verdict", verdict: verdict.key });
  }

  /** After the verdicts on connections to this pod were expired. */
  decideAnew(destination: NetnsCookie, commands: DirectCommand[]): void {
    for (const verdict of this.#byDestination.get(destination) ?? []) this.#decide(verdict, commands);
  }

  /** Which policy denied such a connection last. */
  denialOf(key: VerdictKey): string | undefined {
    return this.#verdicts.get(verdictId(key))?.denial;
  }

  #decide(verdict: Verdict, commands: DirectCommand[]): void {
    const { key, source, destination } = verdict;
    const judgement = this.#judge.verdict(source, destination, key.port, key.family);
    if (judgement === undefined) {
      // An earlier process may have written one.
      commands.push({ op: "remove-verdict", verdict: key });
      return;
    }
    if (!judgement.allowed) verdict.denial = judgement.policy ?? "";
    commands.push({ op: "set-verdict", verdict: key, allow: judgement.allowed });
  }

  #forget(id: string, verdict: Verdict): void {
    this.#verdicts.delete(id);
    const siblings = this.#byDestination.get(verdict.key.destination);
    if (siblings?.delete(verdict) && siblings.size === 0) this.#byDestination.delete(verdict.key.destination);
  }
}

function verdictId({ source, destination, port, family }: VerdictKey): string {
  return `${source}|${destination}|${port}|${family}`;
}
