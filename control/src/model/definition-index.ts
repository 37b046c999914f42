import { serviceKey } from "#lib/xds/types.ts";
import { byAge, type Labels } from "./meta.ts";
import { SelectorIndex } from "./selector-index.ts";
import { byPrecedence, type ServiceDefinition } from "./service-definition.ts";

/** The definition in force for one service key changed; one of both is always there. */
export interface DefinitionChange {
  readonly before: ServiceDefinition | undefined;
  readonly after: ServiceDefinition | undefined;
}

/** Several objects may define one host in one namespace: this knows which of them is in force. */
export class DefinitionIndex {
  readonly #bySource = new Map<string, readonly ServiceDefinition[]>();
  /** Best first. */
  readonly #candidates = new Map<string, ServiceDefinition[]>();
  readonly #keysOfHost = new Map<string, Set<string>>();
  readonly #selectors = new Map<string, SelectorIndex<ServiceDefinition>>();
  readonly #keysOfNamespace = new Map<string, Set<string>>();

  /** `source` names the object that defines these and nothing else. */
  set(source: string, definitions: readonly ServiceDefinition[]): DefinitionChange[] {
    const old = this.#bySource.get(source) ?? [];
    const before = new Map<string, ServiceDefinition | undefined>();
    for (const definition of [...old, ...definitions]) {
      const key = keyOfDefinition(definition);
      before.set(key, this.active(key));
    }
    for (const definition of old) this.#drop(definition);
    for (const definition of definitions) this.#add(definition);
    if (definitions.length === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, definitions);
    const changes: DefinitionChange[] = [];
    for (const [key, was] of before) {
      const now = this.active(key);
      if (was === now) continue;
      if (was !== undefined) this.#unselect(was);
      if (now !== undefined) this.#select(now);
      changes.push({ before: was, after: now });
    }
    return changes;
  }

  /** The definition in force. */
  active(key: string): ServiceDefinition | undefined {
    return this.#candidates.get(key)?.[0];
  }

  /** What one object defines, whether in force or not. */
  of(source: string): readonly ServiceDefinition[] {
    return this.#bySource.get(source) ?? [];
  }

  /** The definition that clients in `namespace` find by a host name: their own namespace's, else the canonical one. */
  visible(hostname: string, namespace: string): ServiceDefinition | undefined {
    const own = this.active(serviceKey(namespace, hostname));
    if (own !== undefined) return own;
    for (const key of this.keysOfHost(hostname)) {
      const definition = this.active(key);
      if (definition !== undefined && this.isCanonical(definition)) return definition;
    }
    return undefined;
  }

  keys(): IterableIterator<string> {
    return this.#candidates.keys();
  }

  keysOfNamespace(namespace: string): Iterable<string> {
    return this.#keysOfNamespace.get(namespace) ?? [];
  }

  keysOfHost(hostname: string): Iterable<string> {
    return this.#keysOfHost.get(hostname) ?? [];
  }

  /** Definitions in force whose selector matches. */
  selecting(namespace: string, labels: Labels): ServiceDefinition[] {
    return this.#selectors.get(namespace)?.match(labels) ?? [];
  }

  /** Whether clients in other namespaces find this one by its host name: Kubernetes' own, else the oldest. */
  isCanonical(definition: ServiceDefinition): boolean {
    if (definition.source === "Service") return true;
    for (const key of this.keysOfHost(definition.hostname)) {
      const other = this.active(key);
      if (other === undefined || other === definition) continue;
      if (other.source === "Service" || byAge(other, definition) < 0) return false;
    }
    return true;
  }

  #add(definition: ServiceDefinition): void {
    const key = keyOfDefinition(definition);
    const candidates = [...(this.#candidates.get(key) ?? []), definition].sort(byPrecedence);
    this.#candidates.set(key, candidates);
    addTo(this.#keysOfHost, definition.hostname, key);
    addTo(this.#keysOfNamespace, definition.namespace, key);
  }

  #drop(definition: ServiceDefinition): void {
    const key = keyOfDefinition(definition);
    const rest = this.#candidates.get(key)?.filter((candidate) => candidate !== definition) ?? [];
    if (rest.length > 0) {
      this.#candidates.set(key, rest);
      return;
    }
    this.#candidates.delete(key);
    removeFrom(this.#keysOfHost, definition.hostname, key);
    removeFrom(this.#keysOfNamespace, definition.namespace, key);
  }

  #select(definition: ServiceDefinition): void {
    if (definition.selector === undefined) return;
    let index = this.#selectors.get(definition.namespace);
    if (index === undefined) {
      index = new SelectorIndex();
      this.#selectors.set(definition.namespace, index);
    }
    index.add(definition.selector, definition);
  }

  #unselect(definition: ServiceDefinition): void {
    if (definition.selector !== undefined) {
      this.#selectors.get(definition.namespace)?.remove(definition.selector, definition);
    }
  }
}

export function keyOfDefinition(definition: ServiceDefinition): string {
  return serviceKey(definition.namespace, definition.hostname);
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function removeFrom(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
