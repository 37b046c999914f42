/** A place where policies are asked, what each of them says there, and who decides. */

/** What one policy says of one connection or request. */
export interface PolicyOpinion {
  readonly layer: "L4" | "L7";
  /** `namespace/name` of the user's object, or a name of what stands for it. */
  readonly name: string;
  readonly action: "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";
  readonly dryRun: boolean;
  /** What it is for: the mesh, a namespace, selected workloads, a target. */
  readonly scope: string;
  /** The first rule that holds, counted from 0; undefined: none. */
  readonly rule: number | undefined;
  /** What its rules ask for. */
  readonly rules: readonly string[];
  /** What is not as the user wrote it; empty if nothing. */
  readonly remark: string;
}

export interface Checkpoint {
  /** Such as `agent of node-1 for pod shop/db-1`, `waypoint shop/waypoint`. */
  readonly at: string;
  /** Who is asked about; empty: nobody has proved anything. */
  readonly peer: string;
  /** `depends`: on the request, of which nothing was said. */
  readonly verdict: "allowed" | "denied" | "depends";
  readonly why: string;
  /** Who decided. */
  readonly policy: string | undefined;
  readonly policies: readonly PolicyOpinion[];
  /** Dry-run policies that would have denied. */
  readonly dryRun: readonly string[];
}

/** In one sentence, from what decided and what there is. */
export function whyOf(
  decision: { readonly allowed: boolean; readonly policy?: string; readonly rule?: number | undefined },
  policies: readonly PolicyOpinion[],
  peer: string,
): string {
  const who = peer === "" ? "a peer without an identity" : peer;
  const { allowed, policy, rule } = decision;
  const enforced = policies.filter(({ dryRun }) => !dryRun);
  if (policy !== undefined) {
    const ruleText = rule === undefined ? "" : `, rule #${rule}`;
    return `${allowed ? "ALLOW" : "DENY"} policy ${policy}${ruleText} matches ${who}`;
  }
  const allows = enforced.filter(({ action }) => action === "ALLOW");
  if (allowed) {
    return enforced.length === 0
      ? "no policy is in force here"
      : "no DENY policy matches, and there is no ALLOW policy";
  }
  const names = allows.map(({ name }) => name).join(", ");
  return `there are ALLOW policies (${names}), and no rule of them matches ${who}`;
}
