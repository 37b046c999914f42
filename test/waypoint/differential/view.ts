/** What one proxy made of one request, as fields that can be compared one by one. */
import { hash } from "node:crypto";
import type { Answer } from "./http1-client.ts";
import { type Attempt, MIRROR_IP } from "./upstream.ts";

export type View = ReadonlyMap<string, string>;

/** Different by nature: only whether they are there counts. */
const ONLY_PRESENT = new Set(["date", "x-request-id", "x-envoy-upstream-service-time"]);

export function viewOf(answer: Answer | undefined, attempts: readonly Attempt[], log: string | undefined): View {
  const view = new Map<string, string>();
  if (answer === undefined) {
    view.set("client", "no answer");
  } else {
    view.set("client.status", String(answer.status));
    view.set("client.informational", answer.informational.join(" "));
    view.set("client.cut", String(answer.cut));
    // Where it was cut is a matter of time.
    if (!answer.cut) view.set("client.body", `${answer.body.length} ${hash("sha1", answer.body)}`);
    addFields(view, "client.header", answer.headers);
    addFields(view, "client.trailer", answer.trailers);
  }
  const inOrder = attempts.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const copies = inOrder.filter(({ at }) => at === MIRROR_IP);
  const others = inOrder.filter(({ at }) => at !== MIRROR_IP);
  view.set("attempts", String(others.length));
  for (const [index, attempt] of [...others, ...copies].entries()) {
    const at = index < others.length ? `upstream${index}` : `copy${index - others.length}`;
    view.set(`${at}.at`, attempt.at);
    view.set(`${at}.protocol`, attempt.protocol);
    view.set(`${at}.method`, attempt.method);
    view.set(`${at}.path`, attempt.path);
    view.set(`${at}.body`, `${attempt.bodyBytes} ${attempt.bodyHash}`);
    addFields(view, `${at}.header`, attempt.headers);
    addFields(view, `${at}.trailer`, attempt.trailers);
  }
  if (log !== undefined) for (const pair of log.split(" | ")) view.set(`log.${pair.split("=")[0]}`, sorted(pair));
  return view;
}

/** Flags come in the order of what happened, and some things happen at once. */
function sorted(pair: string): string {
  return pair.startsWith("flags=") ? `flags=${pair.slice("flags=".length).split(",").sort().join(",")}` : pair;
}

function addFields(view: Map<string, string>, where: string, fields: readonly (readonly [string, string])[]): void {
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (lower === "x-diff-id") continue;
    const key = `${where}.${lower}`;
    const before = view.get(key);
    if (ONLY_PRESENT.has(lower)) view.set(key, "there");
    else view.set(key, before === undefined ? value : `${before} ‖ ${value}`);
  }
}

export interface Difference {
  readonly key: string;
  readonly weft: string;
  readonly envoy: string;
}

export function differencesOf(weft: View, envoy: View): Difference[] {
  const keys = new Set([...weft.keys(), ...envoy.keys()]);
  return [...keys].sort().flatMap((key) => {
    const [ours, theirs] = [weft.get(key) ?? "(none)", envoy.get(key) ?? "(none)"];
    return ours === theirs ? [] : [{ key, weft: ours, envoy: theirs }];
  });
}
