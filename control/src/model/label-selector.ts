/** Kubernetes' label selectors with expressions. */
import { meetsRequirement } from "#lib/kube/requirement.ts";
import type { Fields } from "./fields.ts";
import type { Labels } from "./meta.ts";
import { selects } from "./selector-index.ts";

export interface LabelSelector {
  readonly labels: Labels;
  readonly expressions: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

export function readLabelSelector(fields: Fields | undefined): LabelSelector | undefined {
  if (fields === undefined) return undefined;
  return {
    labels: fields.map("matchLabels"),
    expressions: fields.objects("matchExpressions").map((expression) => ({
      key: expression.string("key") ?? "",
      operator: expression.string("operator") ?? "",
      values: expression.strings("values"),
    })),
  };
}

/** An empty selector matches everything, an unknown operator nothing. */
export function matchesSelector({ labels, expressions }: LabelSelector, candidate: Labels): boolean {
  return (
    selects(labels, candidate) &&
    expressions.every((each) =>
      meetsRequirement(Object.hasOwn(candidate, each.key) ? candidate[each.key] : undefined, each),
    )
  );
}
