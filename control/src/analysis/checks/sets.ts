/** What several objects get wrong together. */
import type { KubeObject } from "#lib/kube/types.ts";
import { EVERYWHERE } from "../../l7/istio/values.ts";
import { MESH_GATEWAY, type VirtualServiceFacts } from "../../l7/istio/virtual-service.ts";
import { protocolName } from "../../model/app-protocol.ts";
import { Fields } from "../../model/fields.ts";
import { byAge, keyOf, metaOf } from "../../model/meta.ts";
import { selects } from "../../model/selector-index.ts";
import type { DefinitionPort, ServiceDefinition } from "../../model/service-definition.ts";
import type { Code } from "../codes.ts";
import { groupOf, podTemplate } from "../kinds.ts";
import type { Surroundings } from "../surroundings.ts";

/** `kind` and `key` name the object that it is said of. */
export type SaySet = (kind: string, key: string, code: Code, text: string, field?: string) => void;

export function checkSets(objects: readonly KubeObject[], around: Surroundings, say: SaySet): void {
  checkVirtualServiceHosts(around, say);
  checkTelemetries(around, say);
  for (const object of objects) {
    const template = podTemplate(object);
    if (template !== undefined) checkServicesOf(object, template, around, say);
    if (object.kind?.endsWith("WebhookConfiguration") === true) checkWebhooks(object, around, say);
  }
}

function checkVirtualServiceHosts({ world }: Surroundings, say: SaySet): void {
  const byHost = new Map<string, VirtualServiceFacts[]>();
  for (const facts of world.virtualServices.all.values()) {
    if (!facts.gateways.includes(MESH_GATEWAY)) continue;
    for (const host of facts.hosts) byHost.set(host, [...(byHost.get(host) ?? []), facts]);
  }
  for (const [host, all] of byHost) {
    const sorted = all.sort(byAge);
    for (const facts of sorted) {
      const others = sorted.filter(
        (other) => other !== facts && meet(facts, other, world.config.virtualServiceExportTo),
      );
      if (others.length === 0) continue;
      const names = others.map(keyOf).join(", ");
      const text = `Host "${host}" is that of VirtualService ${names} too; waypoints apply their rules one after the other, the oldest object's first`;
      say("VirtualService", keyOf(facts), "IST0109", text, "spec.hosts");
    }
  }
}

/** Whether some namespace sees both. */
function meet(a: VirtualServiceFacts, b: VirtualServiceFacts, otherwise: readonly string[]): boolean {
  const seenIn = ({ namespace, exportTo }: VirtualServiceFacts) => [namespace, ...(exportTo ?? otherwise)];
  const [first, second] = [seenIn(a), seenIn(b)];
  return first.some((each) => each === EVERYWHERE || second.includes(each)) || second.includes(EVERYWHERE);
}

function checkTelemetries({ world }: Surroundings, say: SaySet): void {
  const whole = [...world.telemetry.all.values()].filter(
    ({ targets, selective }) => targets === undefined && !selective,
  );
  for (const [namespace, same] of Map.groupBy(whole, (facts) => facts.namespace)) {
    if (same.length < 2) continue;
    for (const facts of same) {
      const names = same
        .filter((other) => other !== facts)
        .map(({ name }) => name)
        .join(", ");
      say("Telemetry", keyOf(facts), "IST0160", `Namespace ${namespace} has other Telemetries for all of it: ${names}`);
    }
  }
}

interface Exposed {
  readonly service: ServiceDefinition;
  readonly port: DefinitionPort;
}

function checkServicesOf(
  object: KubeObject,
  { namespace, labels }: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> },
  { model }: Surroundings,
  say: SaySet,
): void {
  const services = [...model.services.inNamespace(namespace)].filter(
    ({ selector }) => selector !== undefined && selects(selector, labels),
  );
  const exposed: Exposed[] = services.flatMap((service) => service.ports.map((port) => ({ service, port })));
  const tell = (code: Code, same: readonly Exposed[], text: string) => {
    const names = [...new Set(same.map(({ service }) => keyOf(service)))];
    if (names.length > 1) say(object.kind ?? "", keyOf(metaOf(object)), code, `${text} (Services ${names.join(", ")})`);
  };
  for (const [number, same] of Map.groupBy(exposed, ({ port }) => port.number)) {
    const protocols = [...new Set(same.map(({ port }) => protocolName(port.appProtocol)))];
    if (protocols.length > 1) tell("IST0116", same, `Port ${number} has several protocols: ${protocols.join(", ")}`);
  }
  for (const [target, same] of Map.groupBy(exposed, ({ port }) => port.target)) {
    const numbers = [...new Set(same.map(({ port }) => port.number))];
    if (numbers.length > 1) tell("IST0137", same, `Port ${target} is reached by several ports: ${numbers.join(", ")}`);
  }
}

const WEBHOOK_NAMES = /\.(istio\.io|weft\.dev)$/;

function checkWebhooks(object: KubeObject, { model }: Surroundings, say: SaySet): void {
  if (groupOf(object) !== "admissionregistration.k8s.io") return;
  const webhooks = new Fields(object, "", []).objects("webhooks");
  for (const [index, webhook] of webhooks.entries()) {
    const service = webhook.object("clientConfig")?.object("service");
    if (service === undefined || !WEBHOOK_NAMES.test(webhook.string("name") ?? "")) continue;
    const key = `${service.string("namespace")}/${service.string("name")}`;
    if (model.services.get(key) !== undefined) continue;
    const text = `Webhook ${webhook.string("name")} calls Service ${key}, which does not exist`;
    say(object.kind ?? "", keyOf(metaOf(object)), "IST0139", text, `webhooks[${index}]`);
  }
}
