import type { Labels } from "./meta.ts";

export interface LocalityFacts {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** Undefined when none of the labels is there. */
export function localityOfNode(labels: Labels): LocalityFacts | undefined {
  const region = labels["topology.kubernetes.io/region"] ?? "";
  const zone = labels["topology.kubernetes.io/zone"] ?? "";
  const subzone = labels["topology.istio.io/subzone"] ?? "";
  return region === "" && zone === "" && subzone === "" ? undefined : { region, zone, subzone };
}

/** `region/zone/subzone`, later parts optional. */
export function parseLocality(text: string | undefined): LocalityFacts | undefined {
  if (!text) return undefined;
  const [region = "", zone = "", subzone = ""] = text.split("/");
  return { region, zone, subzone };
}
