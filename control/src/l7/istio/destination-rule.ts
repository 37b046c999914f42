/** DestinationRules: `v1`, `v1beta1` and `v1alpha3` have one shape. */
import type { IstioObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Labels, type Meta, metaOf } from "../../model/meta.ts";
import { readTrafficPolicy, type TrafficPolicyFacts } from "./traffic-policy.ts";
import { EVERYWHERE, fullHost, isHost, isLabel, readExportTo } from "./values.ts";

export interface DestinationRuleFacts extends Meta {
  /** Full; maybe with `*.` at its front. */
  readonly host: string;
  readonly policy: TrafficPolicyFacts | undefined;
  readonly subsets: ReadonlyMap<string, SubsetFacts>;
  readonly exportTo: readonly string[] | undefined;
  /** Only for some clients, which waypoints are none of. */
  readonly selective: boolean;
}

export interface SubsetFacts {
  readonly labels: Labels;
  readonly policy: TrafficPolicyFacts | undefined;
}

export function destinationRuleFacts(
  object: IstioObject,
  clusterDomain: string,
  problems: Problem[],
): DestinationRuleFacts | undefined {
  const meta = metaOf(object);
  const before = problems.length;
  const fields = new Fields(object.spec, "spec", problems);
  const host = fields.string("host") ?? "";
  if (host === "") fields.problem("host", "is required");
  else if (!isHost(host)) fields.problem("host", `"${host}" is no host name`);
  const policy = fields.object("trafficPolicy");
  const subsets = new Map<string, SubsetFacts>();
  for (const subset of fields.objects("subsets")) {
    const name = subset.string("name") ?? "";
    const own = subset.object("trafficPolicy");
    const labels = subset.map("labels");
    const facts = { labels, policy: own && readTrafficPolicy(own) };
    subset.refuseUnknown();
    if (!isLabel(name)) subset.problem("name", `"${name}" is no name of a subset`);
    else if (subsets.has(name)) subset.problem("name", `${name} is there twice`);
    else subsets.set(name, facts);
  }
  const selector = fields.object("workloadSelector");
  selector?.map("matchLabels");
  selector?.refuseUnknown();
  const exportTo = readExportTo(fields, meta.namespace);
  if (selector !== undefined && exportTo?.some((to) => to !== meta.namespace || to === EVERYWHERE)) {
    fields.problem("exportTo", "must be . beside workloadSelector");
  }
  const facts = {
    ...meta,
    host: fullHost(host, meta.namespace, clusterDomain),
    policy: policy && readTrafficPolicy(policy),
    subsets,
    exportTo,
    selective: selector !== undefined,
  };
  fields.refuseUnknown();
  return problems.length > before ? undefined : facts;
}
