/** Tells API servers how to know us: the roots of our certificate, in each webhook of our configuration. */
import type { Logger } from "pino";
import type { KubeClient } from "#lib/kube/client.ts";
import { isConflict } from "#lib/kube/errors.ts";
import { Reflector } from "#lib/kube/reflector.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";
import { WorkQueue } from "../kube/work-queue.ts";

export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly Webhook[];
}

interface Webhook {
  readonly name: string;
  readonly clientConfig: { readonly caBundle?: string };
}

export const VALIDATING_WEBHOOKS: ResourceType<WebhookConfiguration> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind: "ValidatingWebhookConfiguration",
  plural: "validatingwebhookconfigurations",
  namespaced: false,
};

export interface WebhookControllerOptions {
  readonly client: KubeClient;
  /** Of the configuration; another's is left alone. */
  readonly name: string;
  /** PEM. */
  readonly roots: () => string;
  /** Only the leader writes. */
  readonly leads: () => boolean;
  readonly log: Logger;
}

export class WebhookController {
  readonly #options: WebhookControllerOptions;
  readonly #queue: WorkQueue;
  #present: WebhookConfiguration | undefined;

  constructor(options: WebhookControllerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (_, signal) => this.#write(signal),
      concurrency: 1,
      onError: (name, error) => options.log.warn({ webhook: name, err: error }, "cannot write our roots to a webhook"),
    });
  }

  /** The roots are others now, or this replica leads. */
  refresh(): void {
    this.#queue.add(this.#options.name);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, name, log } = this.#options;
    const note = (object: WebhookConfiguration | undefined) => {
      if (object !== undefined && object.metadata.name !== name) return;
      this.#present = object;
      this.refresh();
    };
    const reflector = new Reflector(client, {
      type: VALIDATING_WEBHOOKS,
      fieldSelector: `metadata.name=${name}`,
      // An API without admission has no such kind.
      optional: true,
      handler: {
        replace: (objects) => note(objects.find(({ metadata }) => metadata.name === name)),
        upsert: note,
        remove: ({ metadata }) => {
          if (metadata.name === name) note(undefined);
        },
      },
      onError: (error) => log.warn({ err: error }, "cannot watch webhook configurations"),
    });
    await Promise.all([reflector.run(signal), this.#queue.run(signal)]);
  }

  /** Without the configuration nobody asks us, and nothing is to be done. */
  async #write(signal: AbortSignal): Promise<void> {
    const { client, leads, roots, name, log } = this.#options;
    const caBundle = Buffer.from(roots()).toString("base64");
    const webhooks = this.#present?.webhooks ?? [];
    if (!leads() || this.#present === undefined || webhooks.every((each) => each.clientConfig.caBundle === caBundle)) {
      return;
    }
    const object: WebhookConfiguration = {
      ...this.#present,
      webhooks: webhooks.map((each) => ({ ...each, clientConfig: { ...each.clientConfig, caBundle } })),
    };
    try {
      await client.update(VALIDATING_WEBHOOKS, object, { signal });
      log.info({ webhook: name }, "API servers know our roots now");
    } catch (error) {
      // A newer version comes to us by itself.
      if (!isConflict(error)) throw error;
    }
  }
}
