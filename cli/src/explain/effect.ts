/** One object that affects a pod or a Service, and what it does to it. */
export interface Effect {
  readonly kind: string;
  /** `namespace/name`; empty for a cluster-scoped object's namespace. */
  readonly name: string;
  readonly does: string;
}

export interface Description {
  readonly kind: "Pod" | "Service";
  readonly name: string;
  /** What is known of it by itself. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly effects: readonly Effect[];
  /** What analysis says of it and of those objects. */
  readonly messages: readonly string[];
}
