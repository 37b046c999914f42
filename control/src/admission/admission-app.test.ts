/** The running control plane as an API server meets it: the webhook configuration, then reviews over TLS. */
import { once } from "node:events";
import https from "node:https";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { NAMESPACES } from "#lib/kube/types.ts";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { type Control, startControl } from "../app.ts";
import { controlConfig } from "../config.ts";
import { VALIDATING_WEBHOOKS } from "./webhook-controller.ts";

const ANYWHERE = Object.fromEntries(
  ["SECURE_GRPC_ADDR", "HTTP_ADDR", "MONITORING_ADDR", "HTTPS_ADDR"].map((name) => [name, "127.0.0.1:0"]),
);
const NAME = "weft-validator-istio-system";

describe("the admission webhook", () => {
  let kube: FakeKube;
  let control: Control;

  beforeEach(async () => {
    kube = await FakeKube.start();
    kube.put(NAMESPACES, { metadata: { name: "istio-system" } });
    kube.put(VALIDATING_WEBHOOKS, {
      metadata: { name: NAME },
      webhooks: [{ name: "validation.weft.dev", clientConfig: {} }],
    });
    control = await startControl(controlConfig(ANYWHERE), { client: kube.client(), log: pino({ level: "silent" }) });
  });

  afterEach(async () => {
    await control.stop();
    await kube.stop();
  });

  const bundle = () =>
    eventually("the roots in the webhook configuration", () => {
      const [webhook] = kube.read(VALIDATING_WEBHOOKS, "", NAME)?.webhooks ?? [];
      return webhook?.clientConfig.caBundle;
    });

  async function post(path: string, body: string): Promise<{ status: number; body: string }> {
    const request = https.request({
      host: "127.0.0.1",
      port: control.admissionPort,
      servername: "istiod.istio-system.svc",
      ca: Buffer.from(await bundle(), "base64"),
      method: "POST",
      path,
      agent: false,
    });
    request.on("error", () => {});
    request.end(body);
    const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage];
    let text = "";
    for await (const part of response) text += part;
    return { status: response.statusCode ?? 0, body: text };
  }

  const review = (spec: unknown) =>
    JSON.stringify({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: {
        uid: "u-1",
        operation: "CREATE",
        object: {
          apiVersion: "security.istio.io/v1",
          kind: "AuthorizationPolicy",
          metadata: { namespace: "istio-system", name: "p" },
          spec,
        },
      },
    });

  it("is served under our roots, which the leader writes into its configuration, and again when somebody takes them out", async () => {
    expect((await post("/validate", review({ action: "DENY" }))).body).toContain('"allowed":false');
    kube.put(VALIDATING_WEBHOOKS, {
      metadata: { name: NAME },
      webhooks: [{ name: "validation.weft.dev", clientConfig: {} }],
    });
    expect(JSON.parse((await post("/validate", review({ rules: [{}] }))).body)).toMatchObject({
      response: { uid: "u-1", allowed: true },
    });
  });

  it("answers what is no review as such, and goes on", async () => {
    expect((await post("/other", "{}")).status).toBe(404);
    expect((await post("/validate", "{")).status).toBe(400);
    expect((await post("/validate", "x".repeat(9 * 1024 * 1024))).status).toBe(413);
    expect((await post("/validate", review({ rules: [{}] }))).status).toBe(200);
  });
});
