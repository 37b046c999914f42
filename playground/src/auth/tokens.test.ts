import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { API_AUDIENCE, TokenSigner } from "./tokens.ts";

function signer(): TokenSigner {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return new TokenSigner(privateKey.export({ type: "pkcs8", format: "pem" }).toString());
}

describe("service account tokens", () => {
  const subject = { namespace: "ns", account: { name: "sa", uid: "u1" }, pod: { name: "p", uid: "u2" } };
  const tokens = signer();

  it("tell whose they are, for whom and how long", () => {
    const { token, expiresAt } = tokens.issue(subject, [API_AUDIENCE], 600);
    expect(tokens.verify(token)).toMatchObject({ ...subject, audiences: [API_AUDIENCE], expiresAt });
  });

  it("are not believed when expired, changed, unsigned or of another playground", () => {
    const { token } = tokens.issue(subject, ["a"], 600);
    const [head = "", body = "", signature = ""] = token.split(".");
    const forged = Buffer.from(body, "base64url").toString().replace('"sa"', '"admin"');
    expect(tokens.verify(`${head}.${Buffer.from(forged).toString("base64url")}.${signature}`)).toBeUndefined();
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    expect(tokens.verify(`${none}.${body}.`)).toBeUndefined();
    expect(tokens.verify(tokens.issue(subject, ["a"], -1).token)).toBeUndefined();
    expect(signer().verify(token)).toBeUndefined();
    expect(tokens.verify("garbage")).toBeUndefined();
  });
});
