/** Everything that is to be said of a set of objects that are all there is. */
import type { KubeObject } from "#lib/kube/types.ts";
import { keyOf, metaOf } from "../model/meta.ts";
import type { MeshSettings } from "../model/settings.ts";
import type { Say } from "./checks/check.ts";
import { checkObject, problemCode } from "./checks/object.ts";
import { checkSets } from "./checks/sets.ts";
import { checkStatus } from "./checks/status.ts";
import type { Code } from "./codes.ts";
import type { Resource } from "./manifests.ts";
import { MeshSnapshot } from "./mesh-snapshot.ts";
import { byWeight, type Message } from "./message.ts";
import { isSuppressedBy } from "./suppression.ts";

/** The worst first. What objects suppress by their own annotation is left out. */
export function analyze(resources: readonly Resource[], settings: MeshSettings): Message[] {
  const objects = resources.map(({ object }) => object);
  const snapshot = new MeshSnapshot(objects, settings);
  const messages = new Map<string, Message>();
  const add = (resource: Resource, code: Code, text: string, field = "metadata.name") => {
    if (isSuppressedBy(resource.object, code)) return;
    const message = { code, origin: originOf(resource, field), text };
    messages.set(JSON.stringify(message), message);
  };
  const byName = new Map(
    resources.map((resource) => [`${resource.object.kind}/${keyOf(metaOf(resource.object))}`, resource]),
  );
  checkSets(objects, snapshot, (kind, key, code, text, field) => {
    const resource = byName.get(`${kind}/${key}`);
    if (resource !== undefined) add(resource, code, text, field);
  });
  for (const resource of resources) {
    let saidAny = false;
    const say: Say = (code, text, field) => {
      saidAny = true;
      add(resource, code, text, field);
    };
    for (const problem of snapshot.problemsOf(resource.object)) {
      say(problemCode(resource.object, problem), `${problem.field}: ${problem.reason}`, problem.field);
    }
    checkSafely(resource.object, snapshot, say);
    // What a controller says is mostly what has just been said.
    if (!saidAny) checkStatus(resource.object, say);
  }
  return [...messages.values()].sort(byWeight);
}

/** One check that fails must not hide what the others find. */
function checkSafely(object: KubeObject, snapshot: MeshSnapshot, say: Say): void {
  try {
    checkObject(object, { key: keyOf(metaOf(object)), own: snapshot, around: snapshot }, say);
  } catch (error) {
    say("IST0001", `Internal error: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function originOf({ object, file, lineOf }: Resource, field: string): Message["origin"] {
  const { namespace, name } = metaOf(object);
  const line = lineOf?.(field);
  return {
    kind: object.kind ?? "",
    namespace,
    name,
    ...(file === undefined ? {} : { file }),
    ...(line === undefined ? {} : { line }),
  };
}
