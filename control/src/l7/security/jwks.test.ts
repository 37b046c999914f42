import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { publicJwk } from "../../../../test/helpers/public-jwk.ts";
import { parseJwks } from "./jwks.ts";

const parse = (value: unknown) => parseJwks(JSON.stringify(value));

describe("a key set", () => {
  it("keeps public keys and nothing else", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const secret = { ...privateKey.export({ format: "jwk" }), kid: "a", comment: "x".repeat(100) };
    const result = parse({ keys: [secret, { kty: "RSA", n: "AQAB" }, { kty: "odd" }, 1, null], more: 1 });
    if ("problem" in result) throw new Error(result.problem);
    const { keys } = JSON.parse(result.document) as { keys: Record<string, unknown>[] };
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(["crv", "kid", "kty", "x", "y"]);
  });

  it("is refused when two keys have one id, or there is none, or there are too many", () => {
    const key = publicJwk("a");
    expect(parse({ keys: [key, { ...publicJwk("a") }] })).toHaveProperty("problem");
    expect(parse({ keys: [key, publicJwk("b")] })).not.toHaveProperty("problem");
    expect(parse({ keys: [] })).toHaveProperty("problem");
    expect(parse({ keys: Array.from({ length: 101 }, () => key) })).toHaveProperty("problem");
    for (const text of ["", "[]", "{}", '{"keys":{}}', "<html>"]) expect(parseJwks(text)).toHaveProperty("problem");
  });
});
