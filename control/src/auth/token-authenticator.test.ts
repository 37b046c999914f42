import { beforeEach, describe, expect, it } from "vitest";
import type { TokenReview } from "#lib/kube/client.ts";
import { AuthenticationError, TokenAuthenticator } from "./token-authenticator.ts";

const GOOD: TokenReview = {
  authenticated: true,
  username: "system:serviceaccount:a:b",
  audiences: ["istio-ca"],
  extra: { "authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["u"] },
};

describe("TokenAuthenticator", () => {
  let now: number;
  let answers: (TokenReview | Error)[];
  let asked: number;
  let authenticator: TokenAuthenticator;

  beforeEach(() => {
    now = 0;
    answers = [];
    asked = 0;
    authenticator = new TokenAuthenticator({
      review: async () => {
        asked++;
        const answer = answers.shift() ?? GOOD;
        if (answer instanceof Error) throw answer;
        return answer;
      },
      audiences: ["istio-ca"],
      clusterId: "Kubernetes",
      now: () => now,
    });
  });

  it("knows the account and the pod of a token", async () => {
    const identity = { namespace: "a", serviceAccount: "b", pod: { name: "p", uid: "u" } };
    expect(await authenticator.authenticate("Bearer t", "Kubernetes", "10.0.0.1")).toEqual(identity);
    expect(await authenticator.authenticate("Bearer t", undefined, "10.0.0.1")).toEqual(identity);
  });

  it("remembers an answer for a short time", async () => {
    await Promise.all([
      authenticator.authenticate("Bearer t", "", "10.0.0.1"),
      authenticator.authenticate("Bearer t", "", "10.0.0.1"),
    ]);
    expect(asked).toBe(1);
    now = 31_000;
    await authenticator.authenticate("Bearer t", "", "10.0.0.1");
    expect(asked).toBe(2);
  });

  it("remembers a refusal for a shorter time", async () => {
    answers.push({ ...GOOD, authenticated: false });
    await expect(authenticator.authenticate("Bearer t", "", "10.0.0.1")).rejects.toThrow(AuthenticationError);
    await expect(authenticator.authenticate("Bearer t", "", "10.0.0.1")).rejects.toThrow(AuthenticationError);
    expect(asked).toBe(1);
    now = 6_000;
    await authenticator.authenticate("Bearer t", "", "10.0.0.1");
  });

  it("does not hold it against a token when the API does not answer", async () => {
    answers.push(new Error("down"));
    await expect(authenticator.authenticate("Bearer t", "", "10.0.0.1")).rejects.toThrow("down");
    await authenticator.authenticate("Bearer t", "", "10.0.0.1");
  });

  it.each([
    ["no header", undefined, ""],
    ["no bearer", "Basic x", ""],
    ["an empty token", "Bearer ", ""],
    ["a token with a line break", "Bearer a\nb", ""],
    ["an endless token", `Bearer ${"x".repeat(20_000)}`, ""],
    ["another cluster", "Bearer t", "elsewhere"],
  ])("refuses %s without asking the API", async (_, header, cluster) => {
    await expect(authenticator.authenticate(header, cluster, "10.0.0.1")).rejects.toThrow(AuthenticationError);
    expect(asked).toBe(0);
  });

  it.each([
    ["no audience", { audiences: [] }],
    ["another audience", { audiences: ["api"] }],
    ["a user", { username: "system:admin" }],
    ["a malformed name", { username: "system:serviceaccount:a:b:c" }],
  ])("refuses a token with %s", async (_, more) => {
    answers.push({ ...GOOD, ...more });
    await expect(authenticator.authenticate("Bearer t", "", "10.0.0.1")).rejects.toThrow(AuthenticationError);
  });
});
