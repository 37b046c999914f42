/** AuthorizationPolicy as waypoints enforce it: policies with targetRefs, and only those. */
import { create } from "@bufbuild/protobuf";
import type { IstioObject } from "#lib/kube/types.ts";
import { policyKey } from "#lib/xds/types.ts";
import { type Policy, Policy_Action, PolicySchema } from "#proto/l7_pb.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";
import { readRules } from "./policy-rules.ts";
import { readTargets, type Target } from "./policy-target.ts";

export interface WaypointPolicyFacts extends Meta {
  readonly targets: readonly Target[];
  /** Without what depends on the mesh's configuration: the authorizer, and the mesh's other trust domains. */
  readonly policy: Policy;
  /** Who is asked; only for CUSTOM. */
  readonly provider: string;
}

const DRY_RUN_ANNOTATION = "istio.io/dry-run";
const ACTIONS = ["ALLOW", "DENY", "AUDIT", "CUSTOM"] as const;

/** Undefined: not for waypoints. Whatever is wrong goes to `problems`; the result is then the safe reading. */
export function waypointPolicyFacts(
  object: IstioObject,
  rootNamespace: string,
  problems: Problem[],
): WaypointPolicyFacts | undefined {
  const meta = metaOf(object);
  // Problems of policies that are for others are not ours to tell.
  const found: Problem[] = [];
  const spec = new Fields(object.spec, "spec", found);
  const targets = readTargets(spec, meta.namespace, rootNamespace);
  if (targets === undefined) return undefined;
  const action = Policy_Action[spec.oneOf("action", ACTIONS) ?? "ALLOW"];
  const provider = readProvider(spec, action);
  const written = spec.objects("rules").length;
  spec.refuseUnknown();
  const unclear = found.length > 0;
  const rules = readRules(spec, action, { namespace: meta.namespace }, found);
  if (action !== Policy_Action.ALLOW && written === 0) {
    spec.problem("rules", "are required for any action but ALLOW");
  }
  problems.push(...found);
  const dryRun = object.metadata.annotations?.[DRY_RUN_ANNOTATION] === "true";
  return {
    ...meta,
    targets,
    provider,
    policy: create(PolicySchema, {
      name: policyKey(meta.namespace, meta.name),
      namespace: meta.namespace,
      action,
      dryRun: dryRun && (action === Policy_Action.ALLOW || action === Policy_Action.DENY),
      // A policy that is not understood as a whole must not allow anything.
      rules: unclear && action === Policy_Action.ALLOW ? [] : rules,
    }),
  };
}

function readProvider(spec: Fields, action: Policy_Action): string {
  const provider = spec.object("provider");
  const name = provider?.string("name") ?? "";
  provider?.refuseUnknown();
  if (action === Policy_Action.CUSTOM && name === "") spec.problem("provider.name", "is required for action CUSTOM");
  return name;
}
