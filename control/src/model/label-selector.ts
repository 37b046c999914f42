/** Kubernetes' label selectors with expressions. */
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
    expressions.every(({ key, operator, values }) => {
      const value = Object.hasOwn(candidate, key) ? candidate[key] : undefined;
      switch (operator) {
        case "In":
          return value !== undefined && values.includes(value);
        case "NotIn":
          return value === undefined || !values.includes(value);
        case "Exists":
          return value !== undefined;
        case "DoesNotExist":
          return value === undefined;
        default:
          return false;
      }
    })
  );
}
