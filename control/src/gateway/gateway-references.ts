/** `ResolvedRefs` of Gateways: whether the certificate that a waypoint shows to servers can be had. */
import { type ClientCertificate, clientCertificateOf } from "../l7/backend-tls/client-certificate.ts";
import { keyPairOf } from "../l7/credentials/client-tls.ts";
import { type CredentialSource, credentialKey } from "../l7/credentials/credential-ref.ts";
import type { ReferenceGrants } from "../l7/gateway-api/reference-grants.ts";
import type { GatewayFacts } from "../model/gateway.ts";
import { keyOf } from "../model/meta.ts";
import type { WantedCondition } from "../status/status-writer.ts";

export interface GatewayReferencesOptions {
  readonly credentials: () => CredentialSource;
  readonly grants: () => ReferenceGrants;
  /** `of` may give something else for this Gateway. */
  readonly onChange: (gateway: string) => void;
}

export class GatewayReferences {
  readonly #options: GatewayReferencesOptions;
  readonly #certificates = new Map<string, ClientCertificate>();

  constructor(options: GatewayReferencesOptions) {
    this.#options = options;
  }

  /** From now on it is looked after, until it is forgotten. */
  of(gateway: GatewayFacts): WantedCondition {
    const type = "ResolvedRefs";
    const certificate = clientCertificateOf(gateway, this.#options.grants());
    this.#keep(keyOf(gateway), certificate);
    if (certificate === undefined) {
      return { type, status: "True", reason: type, message: "nothing is referred to" };
    }
    const { ref, problem = ref && keyPairOf(ref, this.#options.credentials()).problem } = certificate;
    if (problem === undefined) {
      return { type, status: "True", reason: type, message: "the client certificate for backends was found" };
    }
    const reason = problem.reason === "RefNotPermitted" ? problem.reason : "InvalidClientCertificateRef";
    return { type, status: "False", reason, message: problem.message };
  }

  forget(gateway: string): void {
    this.#keep(gateway, undefined);
  }

  /** Of an object by its `credentialKey`. */
  credentialChanged(key: string): void {
    this.#tell(({ ref }) => ref !== undefined && credentialKey(ref) === key);
  }

  grantsChanged(namespace: string): void {
    this.#tell(({ ref }) => ref?.namespace === namespace);
  }

  #keep(gateway: string, certificate: ClientCertificate | undefined): void {
    if (certificate === undefined && !this.#certificates.has(gateway)) return;
    if (certificate === undefined) this.#certificates.delete(gateway);
    else this.#certificates.set(gateway, certificate);
    this.#options.credentials().want(`gateway ${gateway}`, certificate?.ref === undefined ? [] : [certificate.ref]);
  }

  #tell(concerned: (certificate: ClientCertificate) => boolean): void {
    for (const [gateway, certificate] of this.#certificates) {
      if (concerned(certificate)) this.#options.onChange(gateway);
    }
  }
}
