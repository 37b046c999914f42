/** Which policies a workload gets by name: those that select it, and what PeerAuthentication comes down to for it. */
import { policyKey } from "#lib/xds/types.ts";
import type { AuthorizationPolicyFacts } from "./authorization-policy.ts";
import { compareText, keyOf, type Labels, type Meta } from "./meta.ts";
import {
  type EffectiveMode,
  effectiveMode,
  oldest,
  type PeerAuthenticationFacts,
  policiesOfWorkload,
} from "./peer-authentication.ts";
import { SelectorIndex } from "./selector-index.ts";

/** Objects of one namespace, by selector and without. */
class Scoped<T extends Meta & { readonly selector?: Labels }> {
  readonly #byKey = new Map<string, T>();
  readonly selectors = new SelectorIndex<T>();
  readonly #unselective = new Map<string, T>();

  get empty(): boolean {
    return this.#byKey.size === 0;
  }

  unselective(): Iterable<T> {
    return this.#unselective.values();
  }

  set(key: string, object: T | undefined): void {
    const before = this.#byKey.get(key);
    if (before?.selector !== undefined) this.selectors.remove(before.selector, before);
    this.#unselective.delete(key);
    this.#byKey.delete(key);
    if (object === undefined) return;
    this.#byKey.set(key, object);
    if (object.selector === undefined) this.#unselective.set(key, object);
    else this.selectors.add(object.selector, object);
  }
}

export class PolicyIndex {
  readonly #rootNamespace: string;
  readonly #policies = new Map<string, Scoped<AuthorizationPolicyFacts>>();
  readonly #peers = new Map<string, Scoped<PeerAuthenticationFacts>>();

  constructor(rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
  }

  /** Only policies that are sent to agents count: a name without a policy behind it is a warning at each agent. */
  setPolicy(before: AuthorizationPolicyFacts | undefined, after: AuthorizationPolicyFacts | undefined): void {
    setIn(this.#policies, before, after?.authorization === undefined ? undefined : after);
  }

  setPeerAuthentication(before: PeerAuthenticationFacts | undefined, after: PeerAuthenticationFacts | undefined): void {
    setIn(this.#peers, before, after);
  }

  /** Mode of a namespace as a whole; that of the mesh for the root namespace. */
  modeOf(namespace: string): EffectiveMode {
    const mesh = effectiveMode(oldest(this.#peers.get(this.#rootNamespace)?.unselective() ?? []), "PERMISSIVE");
    if (namespace === this.#rootNamespace) return mesh;
    return effectiveMode(oldest(this.#peers.get(namespace)?.unselective() ?? []), mesh);
  }

  /** In the form of `Workload.authorization_policies`. */
  namesFor(namespace: string, labels: Labels): string[] {
    const names = new Set<string>();
    for (const scope of [namespace, this.#rootNamespace]) {
      for (const policy of this.#policies.get(scope)?.selectors.match(labels) ?? []) {
        names.add(policyKey(policy.namespace, policy.name));
      }
    }
    const selecting = this.#peers.get(namespace)?.selectors.match(labels) ?? [];
    return [
      ...[...names].sort(compareText),
      ...policiesOfWorkload(selecting, this.modeOf(namespace), this.#rootNamespace),
    ];
  }
}

function setIn<T extends Meta & { readonly selector?: Labels }>(
  namespaces: Map<string, Scoped<T>>,
  before: Meta | undefined,
  after: T | undefined,
): void {
  const meta = after ?? before;
  if (meta === undefined) return;
  let scoped = namespaces.get(meta.namespace);
  if (scoped === undefined) {
    scoped = new Scoped();
    namespaces.set(meta.namespace, scoped);
  }
  scoped.set(keyOf(meta), after);
  if (scoped.empty) namespaces.delete(meta.namespace);
}
