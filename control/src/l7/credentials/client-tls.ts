/** What a waypoint is given to begin TLS with: settings and the certificates that they name. */
import { create } from "@bufbuild/protobuf";
import { type ClientTls, ClientTls_Mode, ClientTlsSchema } from "#proto/l7_pb.ts";
import { certificatesProblem, keyPairProblem, revocationListProblem } from "./certificates.ts";
import { type CredentialRef, type CredentialSource, credentialKey } from "./credential-ref.ts";

/** Settings, and the objects that certificates are taken from. */
export interface TlsPlan {
  /** Without certificates. */
  readonly tls: ClientTls;
  /** Has the client's certificate and key. */
  readonly pair?: CredentialRef;
  /** Empty: the system's are trusted. */
  readonly authorities: readonly CredentialRef[];
  /** All of them that can be used are trusted; else the first that has some counts, for better or worse. */
  readonly together?: boolean;
  /** Why it cannot be done, whatever the objects hold. */
  readonly problem?: TlsProblem;
}

/** Reasons are Gateway API's. */
export interface TlsProblem {
  readonly reason: "RefNotPermitted" | "InvalidCertificateRef" | "InvalidCACertificateRef" | "UnsupportedValue";
  readonly message: string;
}

export interface ResolvedTls {
  /** Undefined: something is not heard of yet. Never without the certificates that are asked for: then `unusable` says why. */
  readonly tls: ClientTls | undefined;
  /** All that was looked at. */
  readonly refs: readonly CredentialRef[];
  readonly problem?: TlsProblem;
}

/** A part of the settings, or why there is none. */
type Part = { readonly part: Partial<ClientTls>; readonly problem?: undefined } | { readonly problem: TlsProblem };

export function resolveTls(plan: TlsPlan, source: CredentialSource): ResolvedTls {
  const refs = [...(plan.pair === undefined ? [] : [plan.pair]), ...plan.authorities];
  const refused = (problem: TlsProblem): ResolvedTls => {
    return { tls: create(ClientTlsSchema, { ...plan.tls, unusable: problem.message }), refs, problem };
  };
  if (plan.problem !== undefined) return refused(plan.problem);
  if (refs.some((ref) => source.get(ref).state === "loading")) return { tls: undefined, refs };
  const pair = plan.pair === undefined ? NOTHING : keyPairOf(plan.pair, source);
  if (pair.problem !== undefined) return refused(pair.problem);
  const trusted =
    plan.authorities.length === 0 || plan.tls.skipVerify
      ? NOTHING
      : authoritiesOf(plan.authorities, source, plan.together === true);
  if (trusted.problem !== undefined) return refused(trusted.problem);
  return { tls: create(ClientTlsSchema, { ...plan.tls, ...pair.part, ...trusted.part }), refs };
}

const NOTHING: Part = { part: {} };

/** A client's certificate and key, or why there is none. */
export function keyPairOf(ref: CredentialRef, source: CredentialSource): Part {
  const no = (message: string): Part => ({ problem: { reason: "InvalidCertificateRef", message } });
  const credential = source.get(ref);
  if (credential.state === "missing") return no(credential.reason);
  if (credential.state === "loading") return no(`${credentialKey(ref)} is being read`);
  const certificateChain = credential.data.get("tls.crt") ?? credential.data.get("cert") ?? "";
  const privateKey = credential.data.get("tls.key") ?? credential.data.get("key") ?? "";
  if (certificateChain === "" || privateKey === "") return no(`${credentialKey(ref)} lacks tls.crt or tls.key`);
  const problem = keyPairProblem(certificateChain, privateKey);
  if (problem !== undefined) return no(`${credentialKey(ref)} ${problem}`);
  return { part: { certificateChain, privateKey, mode: ClientTls_Mode.MUTUAL } };
}

interface Authorities {
  readonly ca: string;
  readonly crl: string;
}

function authoritiesOf(refs: readonly CredentialRef[], source: CredentialSource, together: boolean): Part {
  const good: Authorities[] = [];
  const reasons: string[] = [];
  for (const ref of refs) {
    const found = authorities(ref, source);
    if (typeof found !== "string") good.push(found);
    else reasons.push(found);
    // An object that has authorities which are none is not passed over.
    if (!together && (good.length > 0 || hasAuthorities(ref, source))) break;
  }
  const message = reasons.join("; ");
  if (good.length === 0) return { problem: { reason: "InvalidCACertificateRef", message } };
  const joined = (texts: string[]) => texts.filter((text) => text !== "").join("\n");
  return { part: { ca: joined(good.map(({ ca }) => ca)), crl: joined(good.map(({ crl }) => crl)) } };
}

/** Undefined: it can be trusted. */
export function authorityProblem(ref: CredentialRef, source: CredentialSource): string | undefined {
  const found = authorities(ref, source);
  return typeof found === "string" ? found : undefined;
}

function hasAuthorities(ref: CredentialRef, source: CredentialSource): boolean {
  const credential = source.get(ref);
  return credential.state === "known" && (credential.data.get("ca.crt") ?? credential.data.get("cacert") ?? "") !== "";
}

/** Or why there are none. */
function authorities(ref: CredentialRef, source: CredentialSource): Authorities | string {
  const credential = source.get(ref);
  const name = credentialKey(ref);
  if (credential.state === "missing") return credential.reason;
  if (credential.state === "loading") return `${name} is being read`;
  const ca = credential.data.get("ca.crt") ?? credential.data.get("cacert") ?? "";
  const crl = credential.data.get("ca.crl") ?? credential.data.get("crl") ?? "";
  if (ca === "") return `${name} has no ca.crt`;
  const problem = certificatesProblem(ca) ?? (crl === "" ? undefined : revocationListProblem(crl));
  return problem === undefined ? { ca, crl } : `${name} ${problem}`;
}
