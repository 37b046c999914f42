import { create } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, it } from "vitest";
import { ClientTls_Mode, ClientTlsSchema } from "#proto/l7_pb.ts";
import { type Svid, TestCa } from "../../../../test/helpers/pki.ts";
import { resolveTls, type TlsPlan } from "./client-tls.ts";
import { type Credential, type CredentialRef, type CredentialSource, credentialKey } from "./credential-ref.ts";

const secret = (name: string): CredentialRef => ({ kind: "Secret", namespace: "shop", name });
const data = (entries: Record<string, string>): Credential => ({
  state: "known",
  data: new Map(Object.entries(entries)),
});

function sourceOf(known: Record<string, Credential>): CredentialSource {
  return {
    get: (ref) => known[ref.name] ?? { state: "missing", reason: `${credentialKey(ref)} does not exist` },
    want: () => {},
  };
}

describe("the certificates of a connection", () => {
  let ca: TestCa;
  let pair: Svid;
  let other: Svid;
  const tls = create(ClientTlsSchema, { mode: ClientTls_Mode.MUTUAL, sni: "a.example" });
  const mutual: TlsPlan = { tls, pair: secret("web"), authorities: [secret("web-cacert"), secret("web")] };

  beforeAll(async () => {
    ca = await TestCa.create();
    pair = await ca.issue("spiffe://td/ns/a/sa/b");
    other = await ca.issue("spiffe://td/ns/a/sa/c");
  });

  it("come from one Secret, or its authorities from a second one, which counts first", () => {
    const own = { "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root };
    expect(resolveTls(mutual, sourceOf({ web: data(own) }))).toMatchObject({
      tls: { sni: "a.example", certificateChain: pair.chain, privateKey: pair.key, ca: ca.root, unusable: "" },
    });
    const second = data({ cacert: other.chain });
    const both = resolveTls(mutual, sourceOf({ web: data(own), "web-cacert": second }));
    expect(both.tls?.ca).toBe(other.chain);
  });

  it("go by Istio's other names for the same", () => {
    const found = resolveTls(mutual, sourceOf({ web: data({ cert: pair.chain, key: pair.key, cacert: ca.root }) }));
    expect(found.tls).toMatchObject({ certificateChain: pair.chain, privateKey: pair.key, ca: ca.root });
  });

  it("are waited for, each of them", () => {
    const found = resolveTls(mutual, sourceOf({ web: data({}), "web-cacert": { state: "loading" } }));
    expect(found.tls).toBeUndefined();
    expect(found.refs.map(({ name }) => name)).toEqual(["web", "web-cacert", "web"]);
  });

  it.each<[string, () => Record<string, Credential>, string, RegExp]>([
    ["no Secret", () => ({}), "InvalidCertificateRef", /Secret shop\/web does not exist/],
    ["no key", () => ({ web: data({ "tls.crt": pair.chain }) }), "InvalidCertificateRef", /lacks tls.crt or tls.key/],
    [
      "a key of another certificate",
      () => ({ web: data({ "tls.crt": pair.chain, "tls.key": other.key, "ca.crt": ca.root }) }),
      "InvalidCertificateRef",
      /another certificate's/,
    ],
    [
      "a key that is none",
      () => ({ web: data({ "tls.crt": pair.chain, "tls.key": "secret text", "ca.crt": ca.root }) }),
      "InvalidCertificateRef",
      /private key that cannot be read/,
    ],
    [
      "no authorities",
      () => ({ web: data({ "tls.crt": pair.chain, "tls.key": pair.key }) }),
      "InvalidCACertificateRef",
      /web-cacert does not exist; Secret shop\/web has no ca.crt/,
    ],
    [
      "authorities that are none",
      () => ({ web: data({ "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": "nothing" }) }),
      "InvalidCACertificateRef",
      /no certificate in PEM form/,
    ],
    [
      "a revocation list that is none",
      () => ({ web: data({ "tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": ca.root, "ca.crl": "x" }) }),
      "InvalidCACertificateRef",
      /revocation list/,
    ],
  ])("are refused with %s, and nothing of a key is told", (_, known, reason, message) => {
    const found = resolveTls(mutual, sourceOf(known()));
    expect(found.problem?.reason).toBe(reason);
    expect(found.problem?.message).toMatch(message);
    expect(found.problem?.message).not.toContain("secret text");
    expect(found.tls).toMatchObject({ unusable: found.problem?.message, privateKey: "", ca: "" });
  });

  it("need no authorities where nothing is verified, and the system's are not asked for by name", () => {
    const known = sourceOf({ web: data({ "tls.crt": pair.chain, "tls.key": pair.key }) });
    const skip = { ...mutual, tls: create(ClientTlsSchema, { ...tls, skipVerify: true }) };
    expect(resolveTls(skip, known).tls).toMatchObject({ certificateChain: pair.chain, skipVerify: true, unusable: "" });
    expect(resolveTls({ tls, authorities: [] }, known)).toMatchObject({ tls: { ca: "", unusable: "" }, refs: [] });
  });
});
