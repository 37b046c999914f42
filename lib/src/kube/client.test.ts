import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeKube } from "../../../test/helpers/fake-kube.ts";
import { accessFromEnvironment, accessFromKubeconfig } from "./access.ts";
import { collectionPath, KubeClient } from "./client.ts";
import { isConflict, isNotFound, KubeAccessError, KubeError } from "./errors.ts";
import { AUTHORIZATION_POLICIES, CONFIG_MAPS, NAMESPACES, PODS } from "./types.ts";

describe("KubeClient", () => {
  let kube: FakeKube;
  let client: KubeClient;
  beforeEach(async () => {
    kube = await FakeKube.start();
    client = kube.client();
  });
  afterEach(async () => {
    client.close();
    await kube.stop();
  });

  it("creates, reads, patches, applies, replaces and deletes an object", async () => {
    const name = { namespace: "a", name: "c" };
    const created = await client.create(CONFIG_MAPS, { metadata: name, data: { x: "1" } });
    expect(created).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
    await client.patch(CONFIG_MAPS, name, "merge", { data: { y: "2", x: null } });
    expect((await client.get(CONFIG_MAPS, name)).data).toEqual({ y: "2" });
    await client.apply(CONFIG_MAPS, { metadata: name, data: { z: "3" } }, "weft");
    expect(kube.requests.at(-1)).toBe("PATCH /api/v1/namespaces/a/configmaps/c?fieldManager=weft&force=true");
    const current = await client.get(CONFIG_MAPS, name);
    await client.update(CONFIG_MAPS, { ...current, data: { only: "this" } });
    const stale = client.update(CONFIG_MAPS, { ...current, data: {} });
    await expect(stale).rejects.toSatisfy(isConflict);
    await client.delete(CONFIG_MAPS, name);
    await expect(client.get(CONFIG_MAPS, name)).rejects.toSatisfy(isNotFound);
  });

  it("writes status through the subresource", async () => {
    kube.put(PODS, { metadata: { namespace: "a", name: "p" } });
    const patch = { metadata: { annotations: { "ambient.istio.io/redirection": "enabled" } } };
    await client.patch(PODS, { namespace: "a", name: "p" }, "merge", patch, { subresource: "status" });
    expect(kube.requests.at(-1)).toBe("PATCH /api/v1/namespaces/a/pods/p/status");
    expect(kube.read(PODS, "a", "p")?.metadata.annotations).toEqual(patch.metadata.annotations);
  });

  it("reads a long list page by page", async () => {
    for (let i = 0; i < 1201; i++) kube.put(CONFIG_MAPS, { metadata: { namespace: "a", name: `c${i}` } });
    const list = await client.list(CONFIG_MAPS, { namespace: "a" });
    expect(list.items).toHaveLength(1201);
    expect(kube.requests).toHaveLength(3);
  });

  it("names status, reason and path in an error", async () => {
    const error = await client.get(PODS, { namespace: "a", name: "p" }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({ status: 404, reason: "NotFound", path: "GET /api/v1/namespaces/a/pods/p" });
  });

  it("says Unreachable when nobody answers", async () => {
    const nobody = new KubeClient({ server: "http://127.0.0.1:9" });
    await expect(nobody.get(NAMESPACES, { name: "a" })).rejects.toMatchObject({ status: 0, reason: "Unreachable" });
    nobody.close();
  });

  it("reviews tokens for an audience", async () => {
    const user = "system:serviceaccount:a:b";
    kube.tokens.set("good", { authenticated: true, username: user, audiences: ["istio-ca"], extra: { k: ["v"] } });
    expect(await client.reviewToken("good", ["istio-ca"])).toMatchObject({ authenticated: true, username: user });
    expect(await client.reviewToken("good", ["other"])).toMatchObject({ authenticated: false });
    expect(await client.reviewToken("bad", ["istio-ca"])).toMatchObject({ authenticated: false });
  });

  it("builds paths of core, grouped and cluster-scoped kinds", () => {
    expect(collectionPath(PODS)).toBe("/api/v1/pods");
    expect(collectionPath(NAMESPACES, "ignored")).toBe("/api/v1/namespaces");
    expect(collectionPath(AUTHORIZATION_POLICIES, "a")).toBe(
      "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies",
    );
  });
});

describe("access to the API", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "weft-kube-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("comes from the pod's service account", () => {
    writeFileSync(join(dir, "ca.crt"), "CA");
    writeFileSync(join(dir, "token"), "secret\n");
    const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
    const access = accessFromEnvironment(env, dir);
    expect(access).toMatchObject({ server: "https://[fd00::1]:6443", ca: "CA" });
    expect(access.authorization?.()).toBe("Bearer secret");
  });

  it("comes from a kubeconfig, with inline data and files beside it", () => {
    writeFileSync(join(dir, "key.pem"), "KEY");
    writeFileSync(
      join(dir, "config"),
      `
current-context: main
contexts: [{name: main, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://h:1/", certificate-authority-data: ${btoa("CA")}}}]
users: [{name: u, user: {client-certificate-data: ${btoa("CERT")}, client-key: key.pem}}]
`,
    );
    const access = accessFromEnvironment({ KUBECONFIG: join(dir, "config"), KUBERNETES_SERVICE_HOST: "x" }, dir);
    expect(access).toEqual({ server: "https://h:1", ca: "CA", cert: "CERT", key: "KEY" });
  });

  it("fails with a message that says what was looked for", () => {
    expect(() => accessFromEnvironment({})).toThrow(/set KUBECONFIG/);
    expect(() => accessFromEnvironment({ KUBERNETES_SERVICE_HOST: "x" }, dir)).toThrow(KubeAccessError);
    writeFileSync(join(dir, "config"), "current-context: nope");
    expect(() => accessFromKubeconfig(join(dir, "config"))).toThrow(/no entry "nope" in contexts/);
  });
});
