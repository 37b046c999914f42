import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { IstioObject, RouteObject } from "#lib/kube/types.ts";
import { httpRouteFacts } from "../../control/src/l7/gateway-api/http-route.ts";
import { waypointPolicyFacts } from "../../control/src/l7/security/waypoint-policy.ts";
import type { Problem } from "../../control/src/model/fields.ts";

const FOLDER = join(import.meta.dirname, "gateway-api");

describe("Bookinfo with the Gateway API", () => {
  it.each(readdirSync(FOLDER))("has nothing in %s that we do not understand", (file) => {
    for (const document of parseAllDocuments(readFileSync(join(FOLDER, file), "utf8"))) {
      const object = document.toJS() as RouteObject & IstioObject;
      const problems: Problem[] = [];
      if (object.kind === "HTTPRoute") {
        const facts = httpRouteFacts("HTTPRoute", object);
        problems.push(...facts.refused, ...facts.dropped);
        expect(facts.parents).toHaveLength(1);
        expect(facts.rules.length).toBeGreaterThan(0);
      }
      if (object.kind === "AuthorizationPolicy") {
        expect(waypointPolicyFacts(object, "istio-system", problems)).toBeDefined();
      }
      expect(problems).toEqual([]);
    }
  });
});
