import { describe, expect, it } from "vitest";
import { publicJwk } from "../../../../test/helpers/public-jwk.ts";
import { describeProblems, type Problem } from "../../model/fields.ts";
import { requestAuthenticationFacts } from "./request-authentication.ts";

const REF = { kind: "Service", group: "", name: "web" };

function read(spec: object) {
  const problems: Problem[] = [];
  const object = { metadata: { namespace: "n", name: "r" }, spec };
  const facts = requestAuthenticationFacts(object, "istio-system", problems);
  return { facts, problems: describeProblems(problems) };
}

const rule = (fields: object) => read({ targetRefs: [REF], jwtRules: [{ issuer: "i", jwks: keys(1), ...fields }] });
const keys = (n: number, more: object = {}) =>
  JSON.stringify({ keys: Array.from({ length: n }, (_, i) => ({ ...publicJwk(`k${i}`), ...more })) });

describe("a RequestAuthentication for waypoints is refused", () => {
  const refused: [string, ReturnType<typeof read>, string][] = [
    ["a selector beside targets", read({ targetRefs: [REF], selector: {} }), "spec.selector: must not be set"],
    ["a target of another namespace", read({ targetRefs: [{ ...REF, namespace: "o" }] }), "must be the policy's own"],
    ["a target that takes none", read({ targetRefs: [{ ...REF, kind: "Pod" }] }), "targetRefs[0].kind"],
    [
      "neither issuer nor keys",
      read({ targetRefs: [REF], jwtRules: [{}] }),
      "jwtRules[0].issuer: or jwksUri is required",
    ],
    ["keys twice", rule({ jwksUri: "https://a/" }), "must not be set beside jwksUri"],
    ["keys that are no JSON", rule({ jwks: "keys" }), "jwks: is not JSON"],
    ["no key", rule({ jwks: '{"keys":[]}' }), "has no key that can be used"],
    ["two keys of one id", rule({ jwks: keys(2, { kid: "same" }) }), 'two keys with the id "same"'],
    ["keys without end", rule({ jwks: keys(101) }), "more than 100 keys"],
    ["keys of no address", rule({ jwks: undefined, jwksUri: "keys.example" }), "jwksUri: is no http(s) address"],
    ["keys in a file", rule({ jwks: undefined, jwksUri: "file:///etc/passwd" }), "jwksUri: is no http(s) address"],
    ["an issuer nobody can ask", rule({ jwks: undefined }), "issuer: is no http(s) address where keys"],
    ["a time that is none", rule({ timeout: "soon" }), 'timeout: "soon" is no duration'],
    ["a header that is none", rule({ fromHeaders: [{ name: "a b" }] }), "fromHeaders[0].name"],
    ["a claim into nothing", rule({ outputClaimToHeaders: [{ header: "a" }] }), "claim: is required"],
    ["a payload into no header", rule({ outputPayloadToHeader: "a:b" }), "outputPayloadToHeader: is no name"],
    ["yes where true is meant", rule({ forwardOriginalToken: "yes" }), "must be true or false"],
    ["an unknown field", rule({ audience: "a" }), "jwtRules[0].audience: unknown field"],
  ];
  it.each(refused)("with %s", (_, { problems }, reason) => expect(problems).toContain(reason));

  it("and what is not understood of it lets no token pass", () => {
    const broken = rule({ jwks: "keys" }).facts?.rules[0]?.rule;
    expect([broken?.issuer, broken?.jwks, broken?.jwksMissing]).toEqual(["i", "", true]);
  });
});

it("a RequestAuthentication without targets is none of a waypoint's", () => {
  expect(read({ jwtRules: [{ issuer: "i" }] })).toEqual({ facts: undefined, problems: "" });
});

it("a RequestAuthentication waits for keys as long as it says, in any way to write a duration", () => {
  const { facts, problems } = read({
    targetRefs: [REF],
    jwtRules: [{ issuer: "https://a.example", timeout: "0m1.5s" }],
  });
  expect(problems).toBe("");
  expect(facts?.rules[0]?.source?.timeoutMs).toBe(1_500);
});
