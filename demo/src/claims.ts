/** What the demo claims, each checked; a claim that could not be checked is one that is not true. */

export interface Claim {
  readonly text: string;
  readonly holds: boolean;
  /** What was seen; for a failed claim the reason. */
  readonly seen: string;
}

export class Claims {
  readonly #claims: Claim[] = [];
  readonly #onClaim: (claim: Claim) => void;

  constructor(onClaim: (claim: Claim) => void) {
    this.#onClaim = onClaim;
  }

  /** Runs `check`: it returns what it saw, and throws when the claim does not hold. */
  async check(text: string, check: () => string | Promise<string>): Promise<boolean> {
    let claim: Claim;
    try {
      claim = { text, holds: true, seen: await check() };
    } catch (error) {
      claim = { text, holds: false, seen: error instanceof Error ? error.message : String(error) };
    }
    this.#claims.push(claim);
    this.#onClaim(claim);
    return claim.holds;
  }

  get all(): readonly Claim[] {
    return this.#claims;
  }

  get failed(): readonly Claim[] {
    return this.#claims.filter((claim) => !claim.holds);
  }
}

/** Throws `message` unless `condition`. */
export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
