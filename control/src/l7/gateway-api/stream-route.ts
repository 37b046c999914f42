/** TLSRoutes and TCPRoutes as they are written: one rule, chosen by SNI or by nothing. */
import { parseIp } from "#lib/address.ts";
import type { RouteObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { metaOf } from "../../model/meta.ts";
import { readBackendRef } from "./backend-ref.ts";
import { readParentRefs } from "./parent-ref.ts";
import { routeId, type StreamRouteFacts, type StreamRule, versionOf } from "./route-facts.ts";

const HOSTNAME = /^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const MAX_BACKENDS = 64;

export function streamRouteFacts(kind: StreamRouteFacts["kind"], object: RouteObject): StreamRouteFacts {
  const meta = metaOf(object);
  const refused: Problem[] = [];
  const spec = new Fields(object.spec, "spec", refused);
  const parents = readParentRefs(spec, meta.namespace);
  const sni = kind === "TLSRoute" ? readSni(spec) : [];
  const rules = spec.objects("rules").map((rule): StreamRule => {
    const refs = rule.objects("backendRefs");
    if (refs.length > MAX_BACKENDS) rule.problem("backendRefs", `must not be more than ${MAX_BACKENDS}`);
    const backends = refs.flatMap((entry) => {
      const ref = readBackendRef(entry, meta.namespace);
      entry.refuseUnknown();
      return ref === undefined ? [] : [ref];
    });
    rule.string("name");
    rule.refuseUnknown();
    if (refs.length === 0) rule.problem("backendRefs", "needs at least one backend");
    return { backends };
  });
  if (rules.length !== 1) spec.problem("rules", "must be exactly one");
  return {
    ...meta,
    ...versionOf(object),
    id: routeId({ kind, ...meta }),
    kind,
    parents,
    sni,
    rules: refused.length > 0 ? [] : rules,
    refused,
    dropped: [],
  };
}

function readSni(spec: Fields): string[] {
  const names = spec.strings("hostnames").filter((name, index) => {
    // Clients do not ask for addresses by name.
    const good = HOSTNAME.test(name) && name.length <= 253 && parseIp(name) === undefined;
    if (!good) spec.problem(`hostnames[${index}]`, `"${name}" is no host name`);
    return good;
  });
  if (names.length === 0) spec.problem("hostnames", "needs at least one");
  return names;
}
