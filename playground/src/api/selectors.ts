/** Label and field selectors, in the text forms of the query string and the structured form of a spec. */
import { meetsRequirement } from "#lib/kube/requirement.ts";
import { badRequest } from "./errors.ts";
import { type Obj, valueAt } from "./objects.ts";

export type Matcher = (object: Obj) => boolean;

export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

type Labels = Readonly<Record<string, string>>;

const NAME = "([A-Za-z0-9][-A-Za-z0-9_./]*)";
const SET = new RegExp(`^${NAME}\\s+(in|notin)\\s*\\(([^)]*)\\)$`);
const EQUALS = new RegExp(`^${NAME}\\s*(==|=|!=)\\s*([-A-Za-z0-9_.]*)$`);
const EXISTS = new RegExp(`^(!?)\\s*${NAME}$`);

/** Throws 400 on text that is no selector. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const tests = splitOutsideParens(text)
    .filter((part) => part !== "")
    .map(labelRequirement);
  return (labels) => tests.every((test) => test(labels));
}

function labelRequirement(part: string): (labels: Labels) => boolean {
  const set = SET.exec(part);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = new Set(list.split(",").map((value) => value.trim()));
    return (labels) => values.has(labels[key] ?? "\0") === (operator === "in");
  }
  const equals = EQUALS.exec(part);
  if (equals !== null) {
    const [, key = "", operator, value = ""] = equals;
    return (labels) => (labels[key] === value) === (operator !== "!=");
  }
  const exists = EXISTS.exec(part);
  if (exists !== null) {
    const [, not, key = ""] = exists;
    return (labels) => key in labels === (not === "");
  }
  throw badRequest(`unable to parse label selector requirement: "${part}"`);
}

function splitOutsideParens(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim());
}

/** `a.b=c,d!=e` over any path of the object. Throws 400 on text that is no selector. */
export function parseFieldSelector(text: string): Matcher {
  const tests = text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part): Matcher => {
      const match = /^\s*([A-Za-z.]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part);
      if (match === null) throw badRequest(`unable to parse field selector requirement: "${part}"`);
      const [, path = "", operator, value = ""] = match;
      return (object) => {
        const found = valueAt(object, path);
        const same = (found === undefined || found === null ? "" : String(found)) === value;
        return same === (operator !== "!=");
      };
    });
  return (object) => tests.every((test) => test(object));
}

/** Both selectors of a request as one test. */
export function requestMatcher(labelSelector: string | undefined, fieldSelector: string | undefined): Matcher {
  const labels = labelSelector ? parseLabelSelector(labelSelector) : undefined;
  const fields = fieldSelector ? parseFieldSelector(fieldSelector) : undefined;
  if (labels === undefined && fields === undefined) return () => true;
  return (object) =>
    (labels === undefined || labels(object.metadata.labels ?? {})) && (fields === undefined || fields(object));
}

/** The structured selector of a Deployment or ReplicaSet. An empty one matches everything, an absent one nothing. */
export function matchesSelector(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  if (selector === undefined) return false;
  const have = labels ?? {};
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => have[key] === value);
  return equal && (selector.matchExpressions ?? []).every((each) => meetsRequirement(have[each.key], each));
}

/** The text form, as the scale subresource shows it. */
export function formatSelector(selector: LabelSelector | undefined): string {
  const parts = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    if (operator === "Exists") parts.push(key);
    else if (operator === "DoesNotExist") parts.push(`!${key}`);
    else parts.push(`${key} ${operator.toLowerCase()} (${values.join(",")})`);
  }
  return parts.join(",");
}
