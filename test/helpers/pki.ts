/** A certificate authority for tests: SPIFFE certificates as they should be, and every wrong variant of them. */
import { webcrypto } from "node:crypto";
// @peculiar/x509 needs it loaded first.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto as Crypto);

const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const HOUR_MS = 3_600_000;
/** Clock skew that issuers allow for. */
const BACKDATE_MS = 60_000;

/** PEM texts of one certificate. */
export interface Svid {
  /** First URI SAN, or empty. */
  readonly identity: string;
  /** Leaf first, no root. */
  readonly chain: string;
  readonly key: string;
}

export interface IssueOptions {
  /** Subject alternative names of type URI; default: the identity asked for. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** Relative to now, in ms. */
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** Default: both client and server authentication. */
  readonly usages?: readonly ("client" | "server")[];
}

export class TestCa {
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;
  /** Certificates between this CA and its root, this CA's own first. Empty for a root. */
  readonly #intermediates: readonly x509.X509Certificate[];
  readonly #rootPem: string;

  private constructor(
    certificate: x509.X509Certificate,
    keys: webcrypto.CryptoKeyPair,
    intermediates: readonly x509.X509Certificate[],
    rootPem: string,
  ) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.#intermediates = intermediates;
    this.#rootPem = rootPem;
  }

  /** The trust anchor, PEM. */
  get root(): string {
    return this.#rootPem;
  }

  static async create(name = "test root"): Promise<TestCa> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...validity({}),
      serialNumber: serialNumber(),
      name: `O=${name}`,
      keys,
      signingAlgorithm: EC,
      extensions: caExtensions(),
    });
    return new TestCa(certificate, keys, [], certificate.toString("pem"));
  }

  /** A CA that this one has signed. */
  async intermediate(name = "test intermediate"): Promise<TestCa> {
    const keys = await generateKeys();
    const certificate = await this.#sign(`O=${name}`, keys.publicKey, {}, caExtensions());
    return new TestCa(certificate, keys, [certificate, ...this.#intermediates], this.#rootPem);
  }

  async issue(identity: string, options: IssueOptions = {}): Promise<Svid> {
    const keys = await generateKeys();
    const uris = options.uris ?? [identity];
    const names: x509.JsonGeneralNames = [
      ...uris.map((value) => ({ type: "url" as const, value })),
      ...(options.dnsNames ?? []).map((value) => ({ type: "dns" as const, value })),
    ];
    const usages = options.usages ?? ["client", "server"];
    const extensions: x509.Extension[] = [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension(
        usages.map((usage) =>
          usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
        ),
      ),
    ];
    if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names, true));
    const leaf = await this.#sign("", keys.publicKey, options, extensions);
    const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
    return {
      identity: uris[0] ?? "",
      chain: [leaf, ...this.#intermediates].map((certificate) => `${certificate.toString("pem")}\n`).join(""),
      key: x509.PemConverter.encode(key, "PRIVATE KEY"),
    };
  }

  /** Signs a PEM request for `identity`, as a mesh's authority does. Leaf and intermediates one by one, root last. */
  async answerRequest(csr: string, identity: string, options: IssueOptions = {}): Promise<string[]> {
    const request = new x509.Pkcs10CertificateRequest(csr);
    if (!(await request.verify())) throw new Error("the request is not signed by its own key");
    const publicKey = await request.publicKey.export();
    const leaf = await this.#sign("", publicKey as webcrypto.CryptoKey, options, [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: options.uris?.[0] ?? identity }], true),
    ]);
    return [...[leaf, ...this.#intermediates].map((certificate) => certificate.toString("pem")), this.#rootPem];
  }

  #sign(
    subject: string,
    publicKey: webcrypto.CryptoKey,
    options: IssueOptions,
    extensions: x509.Extension[],
  ): Promise<x509.X509Certificate> {
    return x509.X509CertificateGenerator.create({
      ...validity(options),
      serialNumber: serialNumber(),
      subject,
      issuer: this.#certificate.subject,
      publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: EC,
      extensions,
    });
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(EC, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

function validity(options: IssueOptions): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return {
    notBefore: new Date(now + (options.notBeforeMs ?? -BACKDATE_MS)),
    notAfter: new Date(now + (options.notAfterMs ?? HOUR_MS)),
  };
}

function caExtensions(): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ];
}

/** Positive and without a leading zero, as DER wants it. */
function serialNumber(): string {
  const bytes = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
