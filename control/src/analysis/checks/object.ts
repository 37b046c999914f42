/** All that is to be said of one object. */
import type { IstioObject, KubeObject, Pod } from "#lib/kube/types.ts";
import { ROUTE_KINDS } from "../../l7/gateway-api/route-facts.ts";
import type { Problem } from "../../model/fields.ts";
import type { Code } from "../codes.ts";
import { groupOf, isForOthersToo, UNUSED_KINDS } from "../kinds.ts";
import { checkAnnotations } from "./annotations.ts";
import type { Check, Say, Subject } from "./check.ts";
import { checkDeprecated } from "./deprecated.ts";
import { checkDestinationRule } from "./destination-rule.ts";
import {
  checkAuthorizationPolicy,
  checkEnvoyFilter,
  checkPeerAuthentication,
  checkRequestAuthentication,
  checkTelemetry,
} from "./policies.ts";
import { checkGateway, checkRoute } from "./routes.ts";
import { checkNamespace, checkPod } from "./scopes.ts";
import { checkService, checkServiceEntry } from "./services.ts";
import { checkVirtualService } from "./virtual-service.ts";

type CheckOf = (object: KubeObject) => Check;

const CHECKS: ReadonlyMap<string, CheckOf> = new Map<string, CheckOf>([
  ["networking.istio.io/VirtualService", () => checkVirtualService],
  ["networking.istio.io/DestinationRule", () => checkDestinationRule],
  ["networking.istio.io/ServiceEntry", () => checkServiceEntry],
  ["security.istio.io/AuthorizationPolicy", () => checkAuthorizationPolicy],
  ["security.istio.io/PeerAuthentication", () => checkPeerAuthentication],
  ["security.istio.io/RequestAuthentication", (object) => checkRequestAuthentication(object as IstioObject)],
  ["telemetry.istio.io/Telemetry", () => checkTelemetry],
  ["networking.istio.io/EnvoyFilter", () => checkEnvoyFilter],
  ["/Service", () => checkService],
  ["/Namespace", () => checkNamespace],
  ["/Pod", (object) => checkPod(object as Pod)],
  ["gateway.networking.k8s.io/Gateway", () => checkGateway],
  ...ROUTE_KINDS.map((kind) => [`gateway.networking.k8s.io/${kind}`, () => checkRoute(kind)] as const),
]);

/** Whether the object makes no sense, or is only not done here. */
export function problemCode(object: KubeObject, problem: Problem): Code {
  return problem.unsupported === true || isForOthersToo(object) ? "IST0167" : "IST0106";
}

/** What by itself is wrong with the object is the reader's to tell, not this function's. */
export function checkObject(object: KubeObject, subject: Subject, say: Say): void {
  const kind = `${groupOf(object)}/${object.kind}`;
  const unused = UNUSED_KINDS.get(kind);
  if (unused !== undefined) say("IST0167", `The object has no effect: ${unused}`);
  checkAnnotations(object, say);
  checkDeprecated(object, say);
  CHECKS.get(kind)?.(object)(subject, say);
}
