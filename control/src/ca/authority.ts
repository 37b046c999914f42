/** What signs: one certificate with its key, the chain above it, and the roots that peers are to trust. */
// Loaded first by keys.ts too; see there.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import {
  certificatesOf,
  crypto,
  newSerialNumber,
  newSigningKey,
  pemOf,
  type SigningKey,
  signingKeyFromPem,
  uniqueBundle,
} from "./keys.ts";

export interface CertificateRequest {
  readonly publicKey: CryptoKey;
  readonly subjectAltNames: readonly x509.JsonGeneralName[];
  readonly ttlMs: number;
}

export interface IssuedCertificate {
  readonly pem: string;
  readonly notAfter: Date;
}

/** Clocks of nodes differ: one that is behind by less takes a new certificate at once. Five times what istiod gives. */
const BACKDATE_MS = 10 * 60_000;

export class Authority {
  readonly certificate: x509.X509Certificate;
  readonly key: SigningKey;
  /** PEM of the certificates between the signer (included, unless it is a root itself) and the roots. */
  readonly intermediates: readonly string[];
  /** PEM of all roots to trust. */
  readonly roots: string;

  constructor(certificate: x509.X509Certificate, key: SigningKey, intermediates: readonly string[], roots: string) {
    this.certificate = certificate;
    this.key = key;
    this.intermediates = intermediates;
    this.roots = roots;
  }

  /**
   * From PEM. `chain` may name the signer itself first or not, and may end with a root. Throws an Error that says what
   * does not fit.
   */
  static async fromPem(pems: { cert: string; key: string; chain: string; roots: string }): Promise<Authority> {
    const [certificate] = certificatesOf(pems.cert);
    if (certificate === undefined) throw new TypeError("ca-cert.pem holds no certificate");
    const key = await signingKeyFromPem(pems.key);
    await checkPair(certificate, key);
    const constraints = certificate.getExtension(x509.BasicConstraintsExtension);
    if (constraints?.ca !== true) throw new TypeError(`"${certificate.subject}" is no certificate authority`);
    const roots = uniqueBundle(pems.roots);
    if (roots === "") throw new TypeError("root-cert.pem holds no certificate");
    const above = [certificate, ...certificatesOf(pems.cert), ...certificatesOf(pems.chain)].map(pemOf);
    const intermediates = [...new Set(above)].filter((pem) => !roots.includes(pem));
    return new Authority(certificate, key, intermediates, roots);
  }

  /** A new self-signed root that trusts itself. */
  static async selfSigned(organization: string, ttlMs: number): Promise<Authority> {
    const { signing, publicKey } = await newSigningKey();
    const now = Date.now();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: newSerialNumber(),
        name: [{ O: [organization] }],
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(now + ttlMs),
        signingAlgorithm: signing.algorithm,
        keys: { privateKey: signing.key, publicKey },
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
          await x509.SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        ],
      },
      crypto,
    );
    return new Authority(certificate, signing, [], pemOf(certificate));
  }

  /** The same signer with other roots beside its own. */
  withRoots(roots: string): Authority {
    return new Authority(this.certificate, this.key, this.intermediates, roots);
  }

  /** A certificate for server and client use with an empty subject, valid for `ttlMs` or as long as the signer is. */
  async issue(request: CertificateRequest): Promise<IssuedCertificate> {
    const now = Date.now();
    const notAfter = new Date(Math.min(now + request.ttlMs, this.certificate.notAfter.getTime()));
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: newSerialNumber(),
        subject: "",
        issuer: this.certificate.subject,
        notBefore: new Date(Math.max(now - BACKDATE_MS, this.certificate.notBefore.getTime())),
        notAfter,
        publicKey: request.publicKey,
        signingKey: this.key.key,
        signingAlgorithm: this.key.algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          await x509.AuthorityKeyIdentifierExtension.create(this.certificate, false, crypto),
          // The subject is empty, so the names are all there is, and must be understood.
          new x509.SubjectAlternativeNameExtension([...request.subjectAltNames], true),
        ],
      },
      crypto,
    );
    return { pem: pemOf(certificate), notAfter };
  }
}

async function checkPair(certificate: x509.X509Certificate, key: SigningKey): Promise<void> {
  const probe = new TextEncoder().encode("weft");
  const signature = await crypto.subtle.sign(key.algorithm, key.key, probe);
  const algorithm = { ...key.key.algorithm, ...key.algorithm };
  const publicKey = await certificate.publicKey.export(algorithm, ["verify"], crypto).catch(() => undefined);
  if (publicKey === undefined || !(await crypto.subtle.verify(key.algorithm, publicKey, signature, probe))) {
    throw new TypeError("ca-key.pem is not the key of ca-cert.pem");
  }
}
