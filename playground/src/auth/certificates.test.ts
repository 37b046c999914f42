import { X509Certificate } from "node:crypto";
import https from "node:https";
import { describe, expect, it } from "vitest";
import { CertificateAuthority } from "./certificates.ts";

describe("certificates", () => {
  const authority = new CertificateAuthority("test authority");

  it("carry names and addresses and verify against their authority", () => {
    const leaf = new X509Certificate(
      authority.issue({
        commonName: "me",
        organizations: ["one", "two"],
        altNames: ["a.example", "10.1.2.3", "fd00::1"],
      }).cert,
    );
    const root = new X509Certificate(authority.cert);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(root.ca).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.subject).toBe("O=one\nO=two\nCN=me");
    expect(leaf.checkHost("a.example")).toBe("a.example");
    expect(leaf.checkIP("10.1.2.3")).toBe("10.1.2.3");
    expect(leaf.subjectAltName).toContain("FD00:0:0:0:0:0:0:1");
  });

  it("serve mutual TLS", async () => {
    const serving = authority.issue({ commonName: "server", altNames: ["localhost"] });
    const client = authority.issue({ commonName: "client" });
    const server = https.createServer({ ...serving, ca: authority.cert, requestCert: true }, (_, response) =>
      response.end("ok"),
    );
    await new Promise<void>((done) => server.listen(0, "localhost", done));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const code = await new Promise((done, failed) => {
      https
        .get({ host: "localhost", port, ca: authority.cert, ...client, agent: false }, (response) => {
          response.resume();
          done(response.statusCode);
        })
        .on("error", failed);
    });
    server.close();
    expect(code).toBe(200);
  });
});
