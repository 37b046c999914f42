import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LogRoot } from "#lib/log.ts";
import type { CertificateAuthority } from "./ca-client.ts";
import { type IdentityChange, IdentityManager } from "./identity-manager.ts";
import type { Svid } from "./svid.ts";

const HOUR = 3_600_000;
const log = new LogRoot({
  format: "plain",
  filter: "off",
  destination: { write: () => undefined, flushSync: () => undefined },
}).logger("identity");

class FakeAuthority implements CertificateAuthority {
  readonly asked: string[] = [];
  running = 0;
  most = 0;
  fail: string | undefined;
  /** How far its clock is ahead of ours. */
  aheadMs = 0;
  /** Resolves requests when set to false. */
  hold = false;
  readonly #held: (() => void)[] = [];

  async issue(identity: string): Promise<Svid> {
    this.asked.push(identity);
    this.most = Math.max(this.most, ++this.running);
    if (this.hold) await new Promise<void>((resolve) => this.#held.push(resolve));
    this.running--;
    if (this.fail !== undefined) throw new Error(this.fail);
    const notBeforeMs = Date.now() + this.aheadMs;
    return { identity, chain: "c", key: "k", roots: "r", notBeforeMs, notAfterMs: notBeforeMs + 24 * HOUR };
  }

  letGo(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

let authority: FakeAuthority;
let pushed: IdentityChange[];
let manager: IdentityManager;

beforeEach(() => {
  vi.useFakeTimers();
  authority = new FakeAuthority();
  pushed = [];
  manager = new IdentityManager({ authority, push: (commands) => pushed.push(...commands), log });
});

afterEach(() => {
  manager.close();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("an identity is fetched at its first pod and forgotten at its last", async () => {
  manager.acquire("a");
  manager.acquire("a");
  await pass(1);
  expect(authority.asked).toEqual(["a"]);
  expect(pushed).toEqual([{ op: "set-identity", identity: "a", chain: "c", key: "k", roots: "r" }]);
  manager.release("a");
  expect(pushed).toHaveLength(1);
  manager.release("a");
  expect(pushed[1]).toEqual({ op: "remove-identity", identity: "a" });
  expect(manager.status()).toEqual([]);
});

test("a certificate that arrives after its last pod went is not used", async () => {
  authority.hold = true;
  manager.acquire("a");
  await pass(1);
  manager.release("a");
  authority.letGo();
  await pass(1);
  expect(pushed).toEqual([{ op: "remove-identity", identity: "a" }]);
});

describe("renewal", () => {
  test("comes at half life", async () => {
    manager.acquire("a");
    await pass(11 * HOUR + 59 * 60_000);
    expect(authority.asked).toHaveLength(1);
    await pass(2 * 60_000);
    expect(authority.asked).toHaveLength(2);
  });

  test("that fails leaves the valid certificate in use and is tried again, less and less often", async () => {
    manager.acquire("a");
    await pass(1);
    authority.fail = "no";
    await pass(12 * HOUR + 60_000);
    const tries = authority.asked.length;
    expect(tries).toBeGreaterThan(4);
    expect(tries).toBeLessThan(12);
    expect(manager.status()[0]).toMatchObject({ state: "Available", error: "no" });
    await pass(12 * HOUR);
    expect(manager.status()[0]?.state).toBe("Unavailable");
    authority.fail = undefined;
    await pass(151_000);
    expect(manager.status()[0]).toMatchObject({ state: "Available", error: undefined });
  });
});

describe("clocks that disagree", () => {
  test.each([
    ["minutes behind", 5 * 60_000, "Available"],
    ["minutes ahead", -5 * 60_000, "Available"],
    ["13 hours ahead", -13 * HOUR, "Available"],
    ["days ahead", -72 * HOUR, "Unavailable"],
  ])("ours is %s: certificates are used, and asked for no more often than must be", async (_what, aheadMs, state) => {
    authority.aheadMs = aheadMs;
    manager.acquire("a");
    await pass(1);
    expect(pushed).toMatchObject([{ op: "set-identity", identity: "a" }]);
    expect(manager.status()[0]?.state).toBe(state);
    await pass(HOUR);
    // Attempts that do not help come less and less often, up to one in 150 s, give or take a fifth.
    expect(authority.asked.length).toBeLessThan(HOUR / 120_000 + 12);
    if (state === "Available") expect(authority.asked.length).toBeLessThan(4);
    // A clock that is set right again.
    authority.aheadMs = 0;
    await pass(2 * HOUR);
    expect(manager.status()[0]).toMatchObject({ state: "Available", error: undefined });
  });
});

test("at most eight requests run at once, those that a connection waits for first", async () => {
  authority.hold = true;
  for (let i = 0; i < 20; i++) manager.acquire(`id${i}`);
  manager.urgent("id19");
  await pass(1);
  expect(authority.most).toBe(8);
  authority.letGo();
  await pass(1);
  expect(authority.asked[8]).toBe("id19");
  while (authority.running > 0) {
    authority.letGo();
    await pass(1);
  }
  expect(authority.asked).toHaveLength(20);
  expect(authority.most).toBe(8);
});

test("a connection that waited when the certificate was given does not have it given again", async () => {
  manager.acquire("a");
  await pass(1);
  expect(pushed).toHaveLength(1);
  manager.urgent("a");
  await pass(1);
  expect(pushed).toHaveLength(1);
});

test("a connection does not shorten the pause after a failure", async () => {
  authority.fail = "no";
  manager.acquire("a");
  await pass(1);
  for (let i = 0; i < 10; i++) manager.urgent("a");
  await pass(1);
  expect(authority.asked).toHaveLength(1);
});
