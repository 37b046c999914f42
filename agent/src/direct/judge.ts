/** What the policies of a pod of this node say of a connection to it, asked of the engine, which alone evaluates them. */
import { errorText } from "#lib/log.ts";
import { firstAddress, type LocalPod } from "../enroll/local-pods.ts";
import type { Engine, PodId, PolicyAnswer, PolicyPeer } from "../native.ts";

export type Judgement =
  | { readonly allowed: true }
  /** `policy`: the DENY that matched, empty when no ALLOW did. */
  | { readonly allowed: false; readonly policy: string | undefined };

/** Nothing that BPF may decide by: the agent must look at each connection. */
export type Undecided = undefined;

export interface JudgeOptions {
  readonly evaluate: Engine["evaluate"];
  /** Whether all policies in force for the pod have arrived. */
  readonly policiesKnown: (pod: PodId) => boolean;
  /** The engine refuses the question: an identity that is none, as a rule. */
  readonly onFailure: (error: string) => void;
}

const ALLOWED: Judgement = { allowed: true };

export class Judge {
  readonly #options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  /** May BPF let `source` connect to a port of `destination`, both with their first address of the family? */
  verdict(source: LocalPod, destination: LocalPod, port: number, family: 4 | 6): Judgement | Undecided {
    const sourceIp = firstAddress(source, family);
    const destinationIp = firstAddress(destination, family);
    if (sourceIp === undefined || destinationIp === undefined) return undefined;
    // A denial by a policy that has yet to come is none that the application should be told as final.
    if (!this.#options.policiesKnown(destination.id)) return undefined;
    const peer = { identity: source.identity, sourceIp, destinationIp, port };
    const answer = this.#ask(destination.id, peer);
    // What a dry run would have done is reported for each connection, which only the engine does.
    if (answer === undefined || answer.dryRun.length > 0) return undefined;
    return answer.allowed ? ALLOWED : { allowed: false, policy: answer.policy };
  }

  /** May a connection that is open stay? As for those of the engine, an unknown policy closes. */
  connection(destination: LocalPod, peer: PolicyPeer): Judgement {
    const answer = this.#ask(destination.id, peer);
    return answer?.allowed === true ? ALLOWED : { allowed: false, policy: answer?.policy };
  }

  #ask(pod: PodId, peer: PolicyPeer): PolicyAnswer | undefined {
    try {
      return this.#options.evaluate(pod, peer);
    } catch (error) {
      this.#options.onFailure(errorText(error));
      return undefined;
    }
  }
}
