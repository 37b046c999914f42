/** The control side of a cluster in one process: API server, controllers, scheduler, DNS. */
import type net from "node:net";
import { join } from "node:path";
import { KubeletProxy } from "../api/kubelet-proxy.ts";
import { Registry } from "../api/registry.ts";
import { Catalogue } from "../api/resources.ts";
import { Reviews } from "../api/reviews.ts";
import { ApiServer } from "../api/server.ts";
import { Store } from "../api/store.ts";
import { Watches } from "../api/watch.ts";
import { Authenticator } from "../auth/authenticator.ts";
import { TokenSigner } from "../auth/tokens.ts";
import type { FabricConfig } from "../config.ts";
import { Context, type Controller } from "../controllers/context.ts";
import { daemonSetController } from "../controllers/daemonset.ts";
import { deploymentController } from "../controllers/deployment.ts";
import { endpointSliceController } from "../controllers/endpointslice.ts";
import { garbageCollector } from "../controllers/garbage.ts";
import { eventLimiter, namespaceController, populate } from "../controllers/lifecycle.ts";
import { replicaSetController } from "../controllers/replicaset.ts";
import { scheduler } from "../controllers/scheduler.ts";
import { DnsServer } from "../dns/server.ts";
import { crdRules } from "../kinds/crd.ts";
import { podRules } from "../kinds/pod.ts";
import { secretRules } from "../kinds/secret.ts";
import { serviceRules } from "../kinds/service.ts";
import { daemonSetRules, deploymentRules, replicaSetRules } from "../kinds/workloads.ts";
import { networkPlan } from "../network/plan.ts";
import { bootstrap, metadataName } from "./bootstrap.ts";

export type ClusterConfig = Omit<FabricConfig, "stateDir"> & {
  /** Path of the Unix socket of a node's kubelet. */
  readonly kubeletSocket: (node: string) => string;
};

export class Cluster {
  readonly #api: ApiServer;
  readonly #dns: DnsServer;
  readonly #controllers: readonly Controller[];

  /** `report` is told what goes wrong inside and is nobody's request. */
  constructor(config: ClusterConfig, report: (message: string) => void) {
    const plan = networkPlan(config.index);
    const store = new Store(config.historySize);
    const catalogue = new Catalogue();
    const registry = new Registry(store, catalogue);
    const context = new Context(registry, report);
    registry.setRules(
      "pods",
      podRules((namespace, name) => store.get("serviceaccounts", `${namespace}/${name}`)),
    );
    registry.setRules(
      "services",
      serviceRules(plan, () => store.values("services")),
    );
    registry.setRules("secrets", secretRules);
    registry.setRules("deployments.apps", deploymentRules);
    registry.setRules("replicasets.apps", replicaSetRules);
    registry.setRules("daemonsets.apps", daemonSetRules);
    registry.setRules("namespaces", {
      defaults(object) {
        object.metadata.labels = { ...object.metadata.labels, ...metadataName(object.metadata.name) };
        object.spec ??= { finalizers: ["kubernetes"] };
        object.status ??= { phase: "Active" };
      },
      stored(object) {
        if (object.metadata.deletionTimestamp === undefined) populate(context, object.metadata.name, config.ca);
      },
    });
    registry.setRules(
      "customresourcedefinitions.apiextensions.k8s.io",
      crdRules(catalogue, (collection) => {
        for (const { metadata } of [...store.values(collection)]) {
          store.remove(
            collection,
            metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`,
          );
        }
      }),
    );
    // It keeps an index of everything, so it comes before anything.
    const garbage = garbageCollector(context);
    bootstrap(registry, plan, config.ca);
    this.#controllers = [
      garbage,
      namespaceController(context, config.ca),
      eventLimiter(context),
      deploymentController(context),
      replicaSetController(context),
      daemonSetController(context),
      endpointSliceController(context),
      scheduler(context),
    ];

    const tokens = new TokenSigner(config.tokenKey);
    const authenticator = new Authenticator(tokens, store);
    this.#api = new ApiServer({
      registry,
      authenticator,
      tokens,
      reviews: new Reviews(registry, authenticator, tokens),
      watches: new Watches(registry, config.bookmarkMs),
      kubelets: new KubeletProxy(config.kubeletSocket),
      tls: { ...config.serving, ca: config.ca },
    });
    this.#dns = new DnsServer(store);
  }

  async listen(api: { host: string; port: number }): Promise<void> {
    await this.#api.listen(api.host, api.port);
  }

  async listenDns(hosts: readonly string[], port: number): Promise<void> {
    await this.#dns.listen(hosts, port);
  }

  serve(listener: net.Server): void {
    this.#api.serve(listener);
  }

  close(): void {
    for (const controller of this.#controllers) controller.close();
    this.#dns.close();
    this.#api.close();
  }
}

export function kubeletSocket(stateDir: string, node: string): string {
  return join(stateDir, node, "kubelet.sock");
}
