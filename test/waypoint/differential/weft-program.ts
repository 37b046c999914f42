/** The waypoint's program of the same rules: from VirtualServices by the compiler of the control plane. */
import { fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ClusterSchema, DestinationSchema, EndpointsSchema } from "#proto/l7_pb.ts";
import { destinationRuleFacts } from "../../../control/src/l7/istio/destination-rule.ts";
import { L7World } from "../../../control/src/l7/l7-world.ts";
import { WaypointProgram } from "../../../control/src/l7/waypoint-program.ts";
import type { Problem } from "../../../control/src/model/fields.ts";
import { MeshModel } from "../../../control/src/model/mesh-model.ts";
import { podFacts } from "../../../control/src/model/pod.ts";
import { serviceDefinition } from "../../../control/src/model/service.ts";
import { MESH_SETTINGS } from "../../helpers/mesh-settings.ts";
import type { Rule } from "./rules.ts";

const NAMESPACE = "default";

export interface PlainPod {
  readonly app: string;
  readonly version: string;
  readonly ip: string;
}

export interface PlainService {
  readonly name: string;
  readonly app: string;
  readonly ports: readonly { readonly name: string; readonly port: number; readonly targetPort: number }[];
}

export interface Mesh {
  readonly services: readonly PlainService[];
  readonly pods: readonly PlainPod[];
  readonly destinationRules: readonly object[];
  /** By the service that they are for. */
  readonly rules: ReadonlyMap<string, readonly Rule[]>;
  readonly accessLog: string;
}

/** One listener in the clear for each service that has rules, by its name. */
export function programOf(mesh: Mesh): JsonValue {
  const model = new MeshModel(MESH_SETTINGS);
  const world = new L7World(model);
  const problems: Problem[] = [];
  for (const { name, app, ports } of mesh.services) {
    const spec = { clusterIP: "10.96.0.1", selector: { app }, ports };
    const service = serviceDefinition(
      { metadata: { namespace: NAMESPACE, name }, spec } as never,
      MESH_SETTINGS.clusterDomain,
    );
    if (service !== undefined) model.services.upsert(service);
  }
  for (const { app, version, ip } of mesh.pods) {
    const pod = podFacts({
      metadata: { namespace: NAMESPACE, name: `${app}-${version}`, labels: { app, version } },
      spec: {},
      status: { phase: "Running", podIP: ip, conditions: [{ type: "Ready", status: "True" }] },
    });
    if (pod !== undefined) model.pods.upsert(pod);
  }
  const metadata = (name: string) => ({ namespace: NAMESPACE, name, creationTimestamp: new Date(0).toISOString() });
  for (const [index, spec] of mesh.destinationRules.entries()) {
    const facts = destinationRuleFacts(
      { metadata: metadata(`rule-${index}`), spec },
      MESH_SETTINGS.clusterDomain,
      problems,
    );
    if (facts !== undefined) world.destinationRules.all.upsert(facts);
  }
  for (const [host, http] of mesh.rules) {
    const object = { metadata: metadata(host), spec: { hosts: [host], http: http.map(specOf) } };
    const facts = world.virtualServiceReader.read(object, problems);
    if (facts !== undefined) world.virtualServices.all.upsert(facts);
  }
  if (problems.length > 0) throw new Error(`the rules are refused: ${JSON.stringify(problems)}`);
  world.modelChanged(model.flush());
  const keys = [...mesh.rules.keys()].map(
    (name) => `${NAMESPACE}/${name}.${NAMESPACE}.svc.${MESH_SETTINGS.clusterDomain}`,
  );
  const waypoint = { namespace: NAMESPACE, name: "waypoint", gatewayClass: "istio-waypoint" };
  const program = new WaypointProgram(world, waypoint, { services: new Set(keys), workloads: new Set() });
  program.flush();
  const { Cluster, Destination, Endpoints } = program.tables;
  return {
    settings: { telemetry: "t" },
    telemetry: [
      { name: "t", requestHeaders: ["x-diff-id"], accessLogs: [{ provider: "envoy", text: mesh.accessLog }] },
    ],
    listeners: [...mesh.rules.keys()].map((name, index) => {
      const resource = Destination.get(keys[index] ?? "");
      const destination = resource && toJson(DestinationSchema, fromBinary(DestinationSchema, resource.message));
      const { chain } = (destination as unknown as { ports: { chain: { telemetry?: string } }[] }).ports[0] ?? {};
      return { name, address: "127.0.0.1", port: 0, chain: { ...chain, telemetry: "t" } } as JsonValue;
    }),
    clusters: [...Cluster.names()].map((name) =>
      toJson(ClusterSchema, fromBinary(ClusterSchema, Cluster.get(name)?.message ?? new Uint8Array())),
    ),
    endpoints: [...Endpoints.names()].map((name) =>
      toJson(EndpointsSchema, fromBinary(EndpointsSchema, Endpoints.get(name)?.message ?? new Uint8Array())),
    ),
  };
}

function specOf({ match, ...rule }: Rule): object {
  return match === undefined ? rule : { ...rule, match };
}
