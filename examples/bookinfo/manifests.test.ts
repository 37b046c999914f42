import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { IstioObject, RouteObject } from "#lib/kube/types.ts";
import { httpRouteFacts } from "../../control/src/l7/gateway-api/http-route.ts";
import { destinationRuleFacts } from "../../control/src/l7/istio/destination-rule.ts";
import { VirtualServiceReader } from "../../control/src/l7/istio/virtual-service.ts";
import { requestAuthenticationFacts } from "../../control/src/l7/security/request-authentication.ts";
import { waypointPolicyFacts } from "../../control/src/l7/security/waypoint-policy.ts";
import type { Problem } from "../../control/src/model/fields.ts";

const ROOT = "istio-system";
const DOMAIN = "cluster.local";

/** What we do not understand of an object, once it was read as the control plane reads it. */
function problemsOf(object: RouteObject & IstioObject): Problem[] {
  const problems: Problem[] = [];
  switch (object.kind) {
    case "HTTPRoute": {
      const facts = httpRouteFacts("HTTPRoute", object);
      expect(facts.parents).toHaveLength(1);
      expect(facts.rules.length).toBeGreaterThan(0);
      return [...facts.refused, ...facts.dropped];
    }
    case "VirtualService":
      expect(new VirtualServiceReader(DOMAIN).read(object, problems)).toBeDefined();
      return problems;
    case "DestinationRule":
      expect(destinationRuleFacts(object, DOMAIN, problems)).toBeDefined();
      return problems;
    case "RequestAuthentication":
      expect(requestAuthenticationFacts(object, ROOT, problems)).toBeDefined();
      return problems;
    case "AuthorizationPolicy":
      expect(waypointPolicyFacts(object, ROOT, problems)).toBeDefined();
      return problems;
    default:
      return problems;
  }
}

describe.each(["gateway-api", "networking"])("Bookinfo's %s", (folder) => {
  const path = join(import.meta.dirname, folder);
  const files = readdirSync(path).filter((file) => file.endsWith(".yaml"));

  it.each(files)("has nothing in %s that we do not understand", (file) => {
    for (const document of parseAllDocuments(readFileSync(join(path, file), "utf8"))) {
      expect(document.errors).toEqual([]);
      expect(problemsOf(document.toJS() as RouteObject & IstioObject)).toEqual([]);
    }
  });
});

it("the guide leaves nothing of networking out", () => {
  const guide = readFileSync(join(import.meta.dirname, "../../docs/guides/bookinfo.md"), "utf8");
  const files = readdirSync(join(import.meta.dirname, "networking"));
  expect(files.filter((file) => !guide.includes(file))).toEqual([]);
});
