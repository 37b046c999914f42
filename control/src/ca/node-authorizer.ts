/** Whether a node's agent may have a certificate for an identity: only if a pod with it runs on that node. */
import { parseSpiffeId, type SpiffeId } from "#lib/spiffe.ts";
import type { CallerIdentity } from "../auth/token-authenticator.ts";
import type { MeshModel } from "../model/mesh-model.ts";

/** The caller may not have this certificate. `message` is for our log. */
export class AuthorizationError extends Error {
  override readonly name = "AuthorizationError";
}

/**
 * An agent hears of a new pod when we do, and may ask before our own watch has told us: such a request waits this long
 * for the model to catch up.
 */
const CATCH_UP_MS = 1_000;

export class NodeAuthorizer {
  readonly #model: MeshModel;
  /** `namespace/account` of the node agents. */
  readonly #trustedAccounts: ReadonlySet<string>;

  constructor(model: MeshModel, trustedAccounts: Iterable<string>) {
    this.#model = model;
    this.#trustedAccounts = new Set(trustedAccounts);
  }

  /** The identity to certify. `impersonated` is the SPIFFE id that was asked for, when it is not the caller's own. */
  async authorize(caller: CallerIdentity, impersonated: string | undefined): Promise<SpiffeId> {
    const { trustDomain } = this.#model.settings;
    if (impersonated === undefined) {
      return { trustDomain, namespace: caller.namespace, serviceAccount: caller.serviceAccount };
    }
    const account = `${caller.namespace}/${caller.serviceAccount}`;
    if (!this.#trustedAccounts.has(account)) throw new AuthorizationError(`${account} is no trusted node account`);
    const wanted = parseSpiffeId(impersonated);
    if (wanted === undefined) throw new AuthorizationError(`"${impersonated}" is no SPIFFE id`);
    // An identity of another domain would let a node speak for workloads of another mesh.
    if (wanted.trustDomain !== trustDomain) throw new AuthorizationError(`trust domain is not ${trustDomain}`);
    const refusal = await this.#untilAllowed(() => this.#refusal(caller, wanted));
    if (refusal !== undefined) throw new AuthorizationError(refusal);
    return wanted;
  }

  /** Undefined when the certificate may be issued. */
  #refusal(caller: CallerIdentity, wanted: SpiffeId): string | undefined {
    if (caller.pod === undefined) return "token is not bound to a pod";
    const agent = this.#model.pods.get(`${caller.namespace}/${caller.pod.name}`);
    if (agent === undefined) return `no pod ${caller.namespace}/${caller.pod.name}`;
    if (agent.uid !== caller.pod.uid) return `pod ${agent.namespace}/${agent.name} is another one than the token's`;
    if (agent.serviceAccount !== caller.serviceAccount) return "the pod runs as another service account";
    if (agent.node === "") return "the pod is on no node";
    for (const pod of this.#model.podsOnNode(agent.node)) {
      if (pod.namespace !== wanted.namespace || pod.serviceAccount !== wanted.serviceAccount) continue;
      // Kubernetes takes tokens of a deleted account back; certificates end with their life.
      if (this.#model.serviceAccounts.get(`${wanted.namespace}/${wanted.serviceAccount}`) !== undefined)
        return undefined;
      return `no service account ${wanted.namespace}/${wanted.serviceAccount}`;
    }
    return `no pod of ${wanted.namespace}/${wanted.serviceAccount} runs on node ${agent.node}`;
  }

  /** Asks again at each change of a pod or account, until it is allowed or the time is over. */
  #untilAllowed(refusal: () => string | undefined): Promise<string | undefined> {
    const first = refusal();
    if (first === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      let last: string | undefined = first;
      const finish = () => {
        clearTimeout(timer);
        stopListening();
        resolve(last);
      };
      const stopListening = this.#model.onIdentityChange(() => {
        last = refusal();
        if (last === undefined) finish();
      });
      const timer = setTimeout(finish, CATCH_UP_MS);
    });
  }
}
