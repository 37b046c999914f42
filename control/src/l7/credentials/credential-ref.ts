/** Which objects of Kubernetes certificates and keys come from. */

export interface CredentialRef {
  readonly kind: "Secret" | "ConfigMap";
  readonly namespace: string;
  readonly name: string;
}

/** What is known of such an object. */
export type Credential =
  /** Nobody has heard of it yet. */
  | { readonly state: "loading" }
  | { readonly state: "missing"; readonly reason: string }
  | { readonly state: "known"; readonly data: ReadonlyMap<string, string> };

/** Who keeps them. */
export interface CredentialSource {
  get(ref: CredentialRef): Credential;
  /** These are all that `user` needs; what nobody needs is forgotten. */
  want(user: string, refs: readonly CredentialRef[]): void;
}

/** Where nobody reads Secrets, nothing that needs one can be done. */
export const NO_CREDENTIALS: CredentialSource = {
  get: (ref) => ({ state: "missing", reason: `${credentialKey(ref)} is not read by anybody` }),
  want: () => {},
};

/** Names one object, and how people are told of it. */
export function credentialKey({ kind, namespace, name }: CredentialRef): string {
  return `${kind} ${namespace}/${name}`;
}
