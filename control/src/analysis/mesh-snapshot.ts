/**
 * The control plane's model of a set of objects that are all there is: read by the same readers, derived by the same
 * model, without a watch, a clock or a network.
 */
import type { KubeObject } from "#lib/kube/types.ts";
import { type Input, joined, modelInputs } from "../kube/inputs.ts";
import { l7Inputs } from "../kube/l7-inputs.ts";
import { meshConfigInput } from "../kube/mesh-config-input.ts";
import { waypointInputs } from "../kube/waypoint-inputs.ts";
import { MeshRoutes } from "../l7/gateway-api/mesh-routes.ts";
import { L7World } from "../l7/l7-world.ts";
import { type AuthorizerProvider, authorizersOf } from "../l7/security/authorizer.ts";
import { WaypointPolicies } from "../l7/security/waypoint-policies.ts";
import type { Verdict } from "../model/accepted.ts";
import { keyOfDefinition } from "../model/definition-index.ts";
import type { Problem } from "../model/fields.ts";
import { MeshModel } from "../model/mesh-model.ts";
import { keyOf, type Meta, metaOf } from "../model/meta.ts";
import type { MeshSettings } from "../model/settings.ts";
import { groupOf, isIngressGateway, podTemplate } from "./kinds.ts";
import type { Labelled, Surroundings } from "./surroundings.ts";

export class MeshSnapshot implements Surroundings {
  readonly model: MeshModel;
  readonly world: L7World;
  readonly policies: WaypointPolicies;
  readonly routes: MeshRoutes;
  readonly authorizer: (name: string) => AuthorizerProvider | undefined;
  readonly ingressGateways: ReadonlySet<string>;
  readonly templates: readonly Labelled[];
  readonly #problems = new Map<KubeObject, Problem[]>();

  constructor(objects: readonly KubeObject[], settings: MeshSettings) {
    const model = new MeshModel(settings);
    const world = new L7World(model);
    this.model = model;
    this.world = world;
    this.authorizer = authorizersOf(() => world.config.extensionProviders);
    const services = model.serviceLookup;
    this.routes = new MeshRoutes({
      services,
      isWaypoint: (namespace, name) => model.waypoints.isWaypoint(namespace, name),
      isBound: (definition) => model.bound.gatewayOfService(keyOfDefinition(definition)) !== undefined,
      beginsTls: world.beginsTls,
    });
    this.policies = new WaypointPolicies({
      services,
      clusterDomain: settings.clusterDomain,
      provider: this.authorizer,
      trustDomains: () => [world.config.trustDomain ?? settings.trustDomain, ...world.config.trustDomainAliases],
      // Keys are fetched by a control plane, and never here.
      keys: { want: () => {}, keysOf: () => undefined },
    });
    world.routes = this.routes;
    world.policies = this.policies;
    this.ingressGateways = new Set(objects.filter(isIngressGateway).map((object) => keyOf(metaOf(object))));
    this.templates = objects.map(podTemplate).filter((template) => template !== undefined);
    const inputs = new Map(this.#inputs().map((input) => [`${input.type.group}/${input.type.kind}`, input]));
    for (const object of objects) this.#take(inputs.get(`${groupOf(object)}/${object.kind}`), object);
    model.flush();
  }

  /** What is wrong with an object by itself; empty when all is well, or nobody here reads its kind. */
  problemsOf(object: KubeObject): readonly Problem[] {
    return this.#problems.get(object) ?? [];
  }

  #inputs(): Input[] {
    const { model, world, routes, policies } = this;
    const { rootNamespace } = model.settings;
    const note = (verdict: Verdict<Meta>) => this.#note(verdict.object, verdict.problems);
    return joined([
      ...modelInputs(model, {
        authorizationPolicy: note,
        peerAuthentication: note,
        serviceEntry: note,
        workloadEntry: note,
      }),
      ...l7Inputs(world, { virtualService: note, destinationRule: note, telemetry: note, envoyFilter: note }),
      ...waypointInputs(routes, policies, rootNamespace, { waypointPolicy: note, requestAuthentication: note }),
      meshConfigInput(rootNamespace, { onConfig: (config) => (world.config = config), onProblems: () => {} }),
    ]);
  }

  #take(input: Input | undefined, object: KubeObject): void {
    try {
      input?.handler.upsert(object);
    } catch (error) {
      // Kinds that the API checks are not checked again when they are read; a file may hold anything.
      this.#note(object, [
        { field: "spec", reason: `cannot be read: ${error instanceof Error ? error.message : error}` },
      ]);
    }
  }

  /** Two readers may say the same of one object. */
  #note(object: KubeObject, problems: readonly Problem[]): void {
    const known = this.#problems.get(object) ?? [];
    const isNew = ({ field, reason }: Problem) => !known.some((each) => each.field === field && each.reason === reason);
    const added = problems.filter(isNew);
    if (added.length > 0) this.#problems.set(object, [...known, ...added]);
  }
}
