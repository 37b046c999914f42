/** Puts the control plane together. All wiring is here; nothing else knows of more than its neighbours. */
import type { Logger } from "pino";
import { HttpListener } from "#lib/http-listener.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import {
  AUTHORIZATION_POLICIES,
  DESTINATION_RULES,
  ENVOY_FILTERS,
  type IstioObject,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  type ResourceType,
  SERVICE_ENTRIES,
  TELEMETRIES,
  VIRTUAL_SERVICES,
  WORKLOAD_ENTRIES,
} from "#lib/kube/types.ts";
import { releaseMemory } from "#lib/release-memory.ts";
import { adminRoutes } from "./admin.ts";
import { serveAdmission } from "./admission/admission-server.ts";
import { decide } from "./admission/validator.ts";
import { WebhookController } from "./admission/webhook-controller.ts";
import { CallerLimits } from "./auth/caller-limits.ts";
import { TokenAuthenticator } from "./auth/token-authenticator.ts";
import { CertificateService } from "./ca/certificate-service.ts";
import { NodeAuthorizer } from "./ca/node-authorizer.ts";
import { RootDistributor } from "./ca/root-distributor.ts";
import { RootKeeper } from "./ca/root-keeper.ts";
import { earliestRootExpiry } from "./ca/rotation.ts";
import { ServingCredentials } from "./ca/serving-credentials.ts";
import type { ControlConfig } from "./config.ts";
import { ClassController } from "./gateway/class-controller.ts";
import { GatewayController } from "./gateway/gateway-controller.ts";
import { GatewayReferences } from "./gateway/gateway-references.ts";
import { PROGRAM_ACCEPTED } from "./gateway/program-accepted.ts";
import { ProgramAnswers } from "./gateway/program-answers.ts";
import { refusalRemarks } from "./gateway/refusal-remarks.ts";
import { RouteCounts } from "./gateway/route-counts.ts";
import { serveGrpc } from "./grpc-server.ts";
import { plain, serveHttp } from "./http-server.ts";
import { joined, modelInputs, type Verdicts } from "./kube/inputs.ts";
import { type L7Verdicts, l7Inputs } from "./kube/l7-inputs.ts";
import { Leader } from "./kube/leader.ts";
import { meshConfigInput } from "./kube/mesh-config-input.ts";
import { BackendTlsReporter } from "./l7/backend-tls/reporter.ts";
import { CredentialKeeper } from "./l7/credentials/credential-keeper.ts";
import { L7World } from "./l7/l7-world.ts";
import { RESOLVED_REFS } from "./l7/program-clusters.ts";
import { authorizersOf } from "./l7/security/authorizer.ts";
import { TelemetryFindings } from "./l7/telemetry/telemetry-findings.ts";
import { WaypointPrograms } from "./l7/waypoint-programs.ts";
import { WaypointResources } from "./l7/waypoint-resources.ts";
import { ControlMetrics } from "./metrics.ts";
import { keyOfDefinition } from "./model/definition-index.ts";
import { describeProblems } from "./model/fields.ts";
import { MeshModel } from "./model/mesh-model.ts";
import { keyOf } from "./model/meta.ts";
import { objectFinding, policyFinding } from "./status/findings.ts";
import { IpAllocator } from "./status/ip-allocator.ts";
import { RemarkWriter } from "./status/remark-writer.ts";
import { Remarks } from "./status/remarks.ts";
import { StatusWriter } from "./status/status-writer.ts";
import { VerdictLog } from "./status/verdict-log.ts";
import { WaypointBoundWriter } from "./status/waypoint-bound.ts";
import { AdsService } from "./xds/ads-service.ts";
import { PushScheduler } from "./xds/push-scheduler.ts";

/** A running control plane. */
export interface Control {
  readonly grpcPort: number;
  readonly readyPort: number;
  readonly metricsPort: number;
  readonly admissionPort: number;
  readonly adminPort: number;
  readonly model: MeshModel;
  /** Ends streams and writes in order. */
  stop(): Promise<void>;
}

export interface ControlDependencies {
  readonly client: KubeClient;
  readonly log: Logger;
  /** Gives up the start. */
  readonly signal?: AbortSignal;
}

/** One turn of the event loop for deriving: a change of the whole mesh takes as many turns as it needs. */
const FLUSH_BUDGET_MS = 30;

/** Resolves when agents can connect: everything is loaded and the ports are bound. */
export async function startControl(config: ControlConfig, dependencies: ControlDependencies): Promise<Control> {
  const { client, log } = dependencies;
  // What is open is closed in reverse order: at the end, or when the start fails half-way.
  await using opened = new AsyncDisposableStack();
  opened.defer(() => client.close());
  const stopping = new AbortController();
  const signal = AbortSignal.any([
    stopping.signal,
    ...(dependencies.signal === undefined ? [] : [dependencies.signal]),
  ]);
  const background: Promise<unknown>[] = [];
  const supervise = (what: string, task: Promise<void>) => {
    background.push(
      task.catch((error: unknown) => log.fatal({ err: error, what }, "a part of the control plane ended")),
    );
  };
  let waitingFor: readonly string[] = ["start"];

  const scheduler = new PushScheduler(config.push, (sinceChangeMs) => push(sinceChangeMs));
  let pushing = false;
  const model: MeshModel = new MeshModel(config.mesh, {
    onDirty: () => {
      if (pushing) scheduler.changed();
    },
    onFailure: (kind, key, error) => log.error({ kind, object: key, err: error }, "cannot derive an object"),
    onGateway: (key) => {
      gateways.check(key);
      const [namespace = "", name = ""] = key.split("/");
      resources.gatewayChanged(namespace, name);
    },
    onGatewayClass: (name) => {
      classes.check(name);
      resources.classChanged(name);
    },
    onBinding: (definition, binding) => {
      bindings.found(definition, binding);
      routeCounts.bindingChanged();
      resources.bindingChanged(definition);
      if (definition.source === "Service") backendTls.serviceChanged(definition.namespace, definition.name);
    },
  });
  const world = new L7World(model, {
    onDirty: () => {
      if (pushing) scheduler.changed();
    },
    onRemarks: (source, said) => remarks.set(source, said),
    onBackendTls: (services, gone) => {
      if (gone !== undefined) backendTls.forget(gone);
      for (const { namespace, name } of services) {
        backendTls.serviceChanged(namespace, name);
        const definition = model.serviceLookup.service(namespace, name);
        if (definition !== undefined) resources.routes.serviceChanged(definition, definition);
      }
    },
    onConfig: () => {
      resources.configChanged();
      telemetryFindings.recheckAll();
    },
    onGrants: (namespace) => references.grantsChanged(namespace),
    onEnvoyFilterGone: (key) => resources.envoyFilters.forget(key),
    onTelemetry: () => telemetryFindings.recheckAll(),
    onFailure: (kind, key, error) => log.error({ kind, object: key, err: error }, "cannot compile an object"),
  });
  const secrets = new CredentialKeeper({ client, log, onChange: (key) => credentialChanged(key) });
  const credentialChanged = (key: string) => {
    world.credentialChanged(key);
    backendTls.credentialChanged(key);
    references.credentialChanged(key);
  };
  const references: GatewayReferences = new GatewayReferences({
    credentials: () => secrets,
    grants: () => world.grants,
    onChange: (gateway) => gateways.checkStatus(gateway),
  });
  world.credentials = secrets;
  const metrics = new ControlMetrics(() => model);
  const metricsServer = await serveHttp(config.metrics, {
    "/metrics": async () => ({
      status: 200,
      contentType: metrics.registry.contentType,
      body: await metrics.registry.metrics(),
    }),
  });
  opened.defer(() => metricsServer.close());
  const readyServer = await serveHttp(config.ready, {
    "/ready": () =>
      waitingFor.length === 0 ? plain(200, "ready\n") : plain(503, `not ready: ${waitingFor.join(", ")}\n`),
  });

  opened.defer(() => readyServer.close());
  const admin = await HttpListener.open(config.admin);
  opened.defer(() => admin.close());
  opened.defer(async () => {
    stopping.abort();
    await Promise.all(background);
  });

  // ---- certificates ---------------------------------------------------------------------------------------------
  waitingFor = ["certificate authority"];
  const { rootNamespace } = config.mesh;
  const keeper = await RootKeeper.start(
    {
      client,
      namespace: rootNamespace,
      settings: config.rotation,
      checkIntervalMs: config.rootCheckIntervalMs,
      log,
    },
    signal,
  );
  const authority = () => keeper.authority;
  const credentials = await ServingCredentials.create({ authority, names: config.servingNames, log });
  opened.defer(() => credentials.close());
  const distributor = new RootDistributor({ client, roots: () => keeper.authority.roots, log });
  const onAuthority = () => metrics.rootExpiry(earliestRootExpiry(keeper.authority.roots));
  onAuthority();
  keeper.onChange(() => {
    onAuthority();
    distributor.refresh();
    webhooks.refresh();
    void credentials.renew();
  });
  supervise("root keeper", keeper.run(signal));
  supervise("root distributor", distributor.run(signal));

  // ---- statuses -------------------------------------------------------------------------------------------------
  const leader: Leader = new Leader({
    client,
    namespace: rootNamespace,
    identity: config.replica,
    leaseSeconds: config.leaseSeconds,
    log,
    onLead: () => {
      for (const writer of writers) writer.refresh();
      allocator.refresh();
      webhooks.refresh();
      classes.refresh();
      gateways.refresh();
      bindings.refresh();
      resources.refresh();
      backendTls.refresh();
      remarkWriter.refresh();
    },
  });
  const leads = () => leader.leads;
  const webhooks: WebhookController = new WebhookController({
    client,
    name: config.webhookConfiguration,
    roots: () => keeper.authority.roots,
    leads,
    log,
  });
  supervise("webhook configuration", webhooks.run(signal));
  const writerOf = (type: ResourceType<IstioObject>) => new StatusWriter({ client, type, leads, log });
  const policies = writerOf(AUTHORIZATION_POLICIES);
  const peers = writerOf(PEER_AUTHENTICATIONS);
  const serviceEntries = writerOf(SERVICE_ENTRIES);
  const workloadEntries = writerOf(WORKLOAD_ENTRIES);
  const virtualServices = writerOf(VIRTUAL_SERVICES);
  const destinationRules = writerOf(DESTINATION_RULES);
  const telemetries = writerOf(TELEMETRIES);
  const writers = [policies, peers, serviceEntries, workloadEntries, virtualServices, destinationRules, telemetries];
  const allocator = new IpAllocator({ client, entries: model.serviceEntries, leads, log });
  for (const writer of writers) supervise("status writer", writer.run(signal));
  supervise("address allocator", allocator.run(signal));
  const bindings = new WaypointBoundWriter({ client, leads, log });
  // Before everything is loaded, a class may seem ours that is not.
  const leadsLoaded = () => leader.leads && pushing;
  const classes = new ClassController({ client, model, leads: leadsLoaded, log });
  const answers = new ProgramAnswers();
  answers.onChange((gateway) => {
    gateways.checkStatus(gateway);
    const { refusals } = answers.state(gateway);
    remarks.set(`program of ${gateway}`, refusalRemarks(gateway, refusals, programs.origins(gateway)));
  });
  const gateways = new GatewayController({
    client,
    model,
    references,
    program: (gateway) => answers.state(gateway),
    settings: { ...config.mesh, image: config.image, tokenAudience: config.tokenAudiences[0] ?? "" },
    leads: leadsLoaded,
    log,
    attachedRoutes: (gateway, listener) => routeCounts.of(gateway, listener),
  });
  const told = new VerdictLog(log);
  const remarks: Remarks = new Remarks((object) => {
    remarkWriter.check(object);
    resources.remarkChanged(object);
    backendTls.remarkChanged(object);
  });
  const remarkWriter = new RemarkWriter({
    client,
    remarks,
    types: [
      AUTHORIZATION_POLICIES,
      DESTINATION_RULES,
      ENVOY_FILTERS,
      REQUEST_AUTHENTICATIONS,
      TELEMETRIES,
      VIRTUAL_SERVICES,
    ],
    conditions: new Set([PROGRAM_ACCEPTED, RESOLVED_REFS]),
    leads: leadsLoaded,
    log,
  });
  supervise("remarks", remarkWriter.run(signal));
  const resources = new WaypointResources({
    client,
    leads: leadsLoaded,
    log,
    services: model.serviceLookup,
    bindings: {
      isWaypoint: (namespace, name) => model.waypoints.isWaypoint(namespace, name),
      isWaypointClass: (name) => model.waypoints.controllerOf(name) !== undefined,
      isBound: (definition) => model.bound.gatewayOfService(keyOfDefinition(definition)) !== undefined,
    },
    beginsTls: world.beginsTls,
    remarks,
    rootNamespace,
    clusterDomain: config.mesh.clusterDomain,
    trustDomains: () => [world.config.trustDomain ?? config.mesh.trustDomain, ...world.config.trustDomainAliases],
    provider: authorizersOf(() => world.config.extensionProviders),
    blockedJwksAddresses: config.blockedJwksAddresses,
    onService: (key) => world.routesChanged(key),
    onTarget: (target) => world.policiesChanged(target),
    onRoute: (id) => routeCounts.routeChanged(id),
    onPolicy: () => world.policiesChanged(),
    onJwt: () => world.policiesChanged(),
    // Before everything is loaded, a target may seem missing that is not.
    onPolicyFinding: (finding) => {
      if (pushing) policies.found(finding);
    },
    onVerdict: (kind, verdict) => {
      if (verdict.facts !== undefined) told.note(kind, verdict);
      remarkWriter.seen(kind, verdict.object);
    },
  });
  const routeCounts = new RouteCounts(model, resources.routes, (gateway) => gateways.checkStatus(gateway));
  const gatewayOf = (service: string) => model.bound.gatewayOfService(service);
  const { serviceLookup: services } = model;
  const backendTls = new BackendTlsReporter({
    client,
    leads: leadsLoaded,
    log,
    policies: world.backendTls,
    credentials: secrets,
    services,
    remarks,
    gatewayOf,
  });
  supervise("statuses of BackendTLSPolicies", backendTls.run(signal));
  const telemetryFindings = new TelemetryFindings({
    telemetry: () => world.telemetry,
    config: () => world.config,
    services: model.serviceLookup,
    clusterDomain: config.mesh.clusterDomain,
    // Before everything is loaded, a provider or its service may seem missing that is not.
    onFinding: (finding) => {
      if (pushing) telemetries.found(finding);
    },
  });
  world.routes = resources.routes;
  world.policies = resources.policies;
  model.onServiceChange((before, after) => {
    resources.serviceChanged(before, after);
    if (pushing && (before === undefined || after === undefined)) telemetryFindings.recheckAll();
  });
  supervise("routes, policies and keys of waypoints", resources.run(signal));
  supervise("credentials of waypoints", secrets.run(signal));
  supervise("waypoint bindings", bindings.run(signal));
  supervise("gateway classes", classes.run(signal));
  supervise("gateways", gateways.run(signal));
  supervise("leader election", leader.run(signal));
  const verdicts: Verdicts = {
    authorizationPolicy: (verdict) => {
      told.note(AUTHORIZATION_POLICIES.kind, verdict);
      const finding = policyFinding(verdict);
      if (finding !== undefined) policies.found(finding);
    },
    peerAuthentication: (verdict) => {
      told.note(PEER_AUTHENTICATIONS.kind, verdict);
      peers.found(objectFinding(verdict));
    },
    serviceEntry: (verdict) => {
      told.note(SERVICE_ENTRIES.kind, verdict);
      serviceEntries.found(objectFinding(verdict));
      if (verdict.facts !== undefined) allocator.check(keyOf(verdict.facts));
    },
    workloadEntry: (verdict) => {
      told.note(WORKLOAD_ENTRIES.kind, verdict);
      workloadEntries.found(objectFinding(verdict));
    },
  };
  const l7Verdicts: L7Verdicts = {
    virtualService: (verdict) => {
      told.note(VIRTUAL_SERVICES.kind, verdict);
      virtualServices.found(objectFinding(verdict));
      remarkWriter.seen(VIRTUAL_SERVICES.kind, verdict.object);
    },
    destinationRule: (verdict) => {
      told.note(DESTINATION_RULES.kind, verdict);
      destinationRules.found(objectFinding(verdict));
      remarkWriter.seen(DESTINATION_RULES.kind, verdict.object);
    },
    telemetry: (verdict) => {
      told.note(TELEMETRIES.kind, verdict);
      telemetryFindings.note(verdict);
      remarkWriter.seen(TELEMETRIES.kind, verdict.object);
    },
    envoyFilter: (verdict) => {
      told.note(ENVOY_FILTERS.kind, verdict);
      resources.envoyFilters.note(verdict);
      remarkWriter.seen(ENVOY_FILTERS.kind, verdict.object);
    },
  };

  // ---- model ----------------------------------------------------------------------------------------------------
  const meshConfig = meshConfigInput(rootNamespace, {
    onConfig: (meshConfig) => {
      world.config = meshConfig;
    },
    onProblems: (problems, keptLastGood) =>
      log.warn({ problems: describeProblems(problems), keptLastGood }, "invalid configuration of the mesh"),
  });
  const inputs = joined([
    ...modelInputs(model, verdicts),
    ...l7Inputs(world, l7Verdicts),
    ...resources.inputs(),
    meshConfig,
  ]);
  const reflectors = inputs.map(({ type, handler, optional, scope = {} }) => {
    const onError = (error: unknown) => log.warn({ kind: type.kind, err: error }, "cannot follow objects; retrying");
    return { kind: type.kind, reflector: new Reflector(client, { type, handler, optional, onError, ...scope }) };
  });
  for (const { kind, reflector } of reflectors) {
    supervise(`reflector of ${kind}`, reflector.run(signal));
    void reflector.synced.then(() => {
      waitingFor = reflectors.filter(({ reflector: other }) => !other.hasSynced).map(({ kind: other }) => other);
      if (waitingFor.length === 0) waitingFor = ["ports"];
    });
  }
  await Promise.race([Promise.all(reflectors.map(({ reflector }) => reflector.synced)), aborted(signal)]);
  signal.throwIfAborted();
  const begun = performance.now();
  model.flush();
  pushing = true;
  classes.refresh();
  gateways.refresh();
  resources.refresh();
  backendTls.refresh();
  remarkWriter.refresh();
  telemetryFindings.recheckAll();
  log.info(
    { resources: model.addresses.size, policies: model.authorizations.size, ms: Math.round(performance.now() - begun) },
    "mesh model built",
  );
  // The lists that it was read from are several times its size.
  releaseMemory();

  // ---- admission ------------------------------------------------------------------------------------------------
  const { policies: waypointPolicies, routes } = resources;
  const authorizer = authorizersOf(() => world.config.extensionProviders);
  const around = {
    model,
    world,
    policies: waypointPolicies,
    routes,
    authorizer,
    ingressGateways: undefined,
    templates: [],
  };
  const admission = await serveAdmission({
    listen: config.admission,
    credentials,
    decide: (request) => decide(request, { settings: config.mesh, around: () => around }),
    log,
  });
  opened.defer(() => admission.close());

  // ---- services -------------------------------------------------------------------------------------------------
  const authenticator = new TokenAuthenticator({
    review: (token, audiences) => client.reviewToken(token, audiences, signal),
    audiences: config.tokenAudiences,
    clusterId: config.mesh.clusterId,
  });
  const limits = new CallerLimits();
  const programs = new WaypointPrograms(
    world,
    () => scheduler.changed(),
    () => secrets.settled,
  );
  const ads = new AdsService({
    model,
    authenticator,
    limits,
    log,
    metrics: metrics.ads,
    programs,
    programListener: {
      answered: (answer) => answers.note(answer),
      gone: (gateway, waypoint) => answers.forget(gateway, waypoint),
    },
  });
  const certificates = new CertificateService({
    authenticator,
    limits,
    authorizer: new NodeAuthorizer(model, config.trustedNodeAccounts),
    authority,
    defaultTtlMs: config.defaultCertTtlMs,
    maxTtlMs: config.maxCertTtlMs,
    log,
    metrics: metrics.certificates,
  });
  const push = (sinceChangeMs: number) => {
    const start = performance.now();
    const change = model.flush(FLUSH_BUDGET_MS);
    if (!model.settled) scheduler.changed();
    programs.modelChanged(change);
    const flushMs = performance.now() - start;
    // A waypoint is to know what it serves before agents send it there.
    ads.pushPrograms(programs.takeChange());
    ads.push(change);
    metrics.flushed(flushMs, sinceChangeMs + performance.now() - start);
  };
  const grpc = await serveGrpc(config.grpc, credentials, ads, certificates);
  opened.defer(() => grpc.close());
  opened.defer(() => {
    waitingFor = ["shutdown"];
    scheduler.stop();
  });
  admin.serve(adminRoutes({ replica: config.replica, clients: () => ads.clients, leads, programs, log }));
  waitingFor = [];
  const running = opened.move();
  return {
    grpcPort: grpc.port,
    readyPort: readyServer.address.port,
    metricsPort: metricsServer.address.port,
    admissionPort: admission.address.port,
    adminPort: admin.address.port,
    model,
    stop: () => running.disposeAsync(),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
