/**
 * What the Secret with our root says, and when it changes. A rotation has three steps, so that at every moment each
 * peer trusts every certificate in use:
 *
 *   steady ──begin──▶ overlap ──activate──▶ retiring ──retire──▶ steady
 *
 * In `overlap` both roots are handed out and the old one still signs, until every workload has renewed and so trusts
 * both. In `retiring` the new one signs and the old one is still trusted, until the last certificate that it signed
 * has expired.
 */
import type { Secret } from "#lib/kube/types.ts";
import { Authority } from "./authority.ts";
import { certificatesOf, pemOf, uniqueBundle } from "./keys.ts";

export type RotationPhase =
  | { readonly phase: "steady" }
  /** The next root signs from `until` on. */
  | { readonly phase: "overlap"; readonly until: number; readonly next: Authority }
  /** The old root is trusted up to `until`. */
  | { readonly phase: "retiring"; readonly until: number };

export interface RootState {
  /** Signs now; its `roots` are all that are to be trusted. */
  readonly signer: Authority;
  readonly rotation: RotationPhase;
  /** Somebody wants a new root now. */
  readonly requested: boolean;
}

export interface RotationSettings {
  /** Names the owner in a new root. */
  readonly organization: string;
  readonly rootTtlMs: number;
  /** A root with less than this part of its life left is replaced. */
  readonly renewBeforePart: number;
  /** Long enough that every workload renews within it. */
  readonly overlapMs: number;
  /** The longest life of a certificate that the old root may have signed. */
  readonly retireMs: number;
}

export const CA_SECRET = "istio-ca-secret";
/** Put on the Secret to have the root replaced now. */
export const ROTATE_ANNOTATION = "weft/rotate-root";

const SIGNER_CERT = "ca-cert.pem";
const SIGNER_KEY = "ca-key.pem";
const ROOTS = "root-cert.pem";
const NEXT_CERT = "next-ca-cert.pem";
const NEXT_KEY = "next-ca-key.pem";
/** RFC 3339; in `overlap` when the next root begins to sign, in `retiring` when the old one ends. */
const UNTIL = "rotation-until";

/** Throws an Error that says what is wrong with the Secret. */
export async function readRootState(secret: Secret): Promise<RootState> {
  const text = (key: string) => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
  const cert = text(SIGNER_CERT);
  const roots = uniqueBundle(cert, text(ROOTS));
  const signer = await Authority.fromPem({ cert, key: text(SIGNER_KEY), chain: "", roots });
  const requested = secret.metadata.annotations?.[ROTATE_ANNOTATION] !== undefined;
  const until = Date.parse(text(UNTIL));
  if (Number.isNaN(until)) return { signer, requested, rotation: { phase: "steady" } };
  const nextCert = text(NEXT_CERT);
  if (nextCert === "") return { signer, requested, rotation: { phase: "retiring", until } };
  const next = await Authority.fromPem({ cert: nextCert, key: text(NEXT_KEY), chain: "", roots });
  return { signer, requested, rotation: { phase: "overlap", until, next } };
}

/** `before` gives the metadata to keep; the request for a rotation is taken off. */
export function writeRootState(state: RootState, metadata: Secret["metadata"]): Secret {
  const { rotation, signer } = state;
  const data: Record<string, string> = {
    [SIGNER_CERT]: pemOf(signer.certificate),
    [SIGNER_KEY]: signer.key.pem,
    [ROOTS]: signer.roots,
  };
  if (rotation.phase !== "steady") data[UNTIL] = new Date(rotation.until).toISOString();
  if (rotation.phase === "overlap") {
    data[NEXT_CERT] = pemOf(rotation.next.certificate);
    data[NEXT_KEY] = rotation.next.key.pem;
  }
  const { [ROTATE_ANNOTATION]: _, ...annotations } = metadata.annotations ?? {};
  return {
    metadata: { ...metadata, annotations },
    type: "istio.io/ca-root",
    data: Object.fromEntries(Object.entries(data).map(([key, pem]) => [key, Buffer.from(pem).toString("base64")])),
  };
}

/** The next step when it is due, else undefined. */
export async function rotate(
  state: RootState,
  settings: RotationSettings,
  now: number,
): Promise<RootState | undefined> {
  const { signer, rotation } = state;
  switch (rotation.phase) {
    case "steady": {
      const { notBefore, notAfter } = signer.certificate;
      const life = notAfter.getTime() - notBefore.getTime();
      const aged = notAfter.getTime() - now < life * settings.renewBeforePart;
      if (!aged && !state.requested) return undefined;
      const next = await Authority.selfSigned(settings.organization, settings.rootTtlMs);
      const roots = uniqueBundle(signer.roots, next.roots);
      return {
        signer: signer.withRoots(roots),
        requested: false,
        rotation: { phase: "overlap", until: now + settings.overlapMs, next: next.withRoots(roots) },
      };
    }
    case "overlap":
      if (now < rotation.until) return undefined;
      return {
        signer: rotation.next,
        requested: false,
        rotation: { phase: "retiring", until: now + settings.retireMs },
      };
    case "retiring": {
      if (now < rotation.until) return undefined;
      const own = pemOf(signer.certificate);
      return { signer: signer.withRoots(own), requested: state.requested, rotation: { phase: "steady" } };
    }
  }
}

/** Milliseconds until `rotate` may have something to do, at most `most`. */
export function untilNextStep({ rotation }: RootState, now: number, most: number): number {
  return rotation.phase === "steady" ? most : Math.max(0, Math.min(most, rotation.until - now));
}

/** When the first of the roots expires. */
export function earliestRootExpiry(roots: string): number {
  return Math.min(...certificatesOf(roots).map((root) => root.notAfter.getTime()));
}
