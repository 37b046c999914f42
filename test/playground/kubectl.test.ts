import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { Bed, service, webDeployment } from "./bed.ts";

describe("stock kubectl on a playground", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-kubectl");
    await bed.apply(webDeployment("web", 2) + service("web", "web"));
    await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
  });
  afterAll(() => bed?.stop());

  it("gets wide tables with the columns people know", async () => {
    expect(await bed.kubectl("get", "nodes", "-o", "wide")).toMatch(/NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP/);
    const pods = await bed.kubectl("get", "pods", "-o", "wide");
    expect(pods).toMatch(/NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/);
    expect(pods.match(/1\/1 +Running/g)).toHaveLength(2);
    expect(pods).toContain("node1");
    expect(pods).toContain("node2");
    expect(await bed.kubectl("get", "deployments")).toMatch(/web +2\/2 +2 +2/);
    expect(await bed.kubectl("get", "services")).toMatch(/web +ClusterIP +10\.\d+\.\d+\.\d+ +<none> +80\/TCP/);
    expect(await bed.kubectl("get", "all")).toContain("replicaset.apps/web-");
  });

  it("gets yaml and json of one object and of lists", async () => {
    expect(await bed.kubectl("get", "service", "web", "-o", "yaml")).toContain("kind: Service");
    const list = JSON.parse(await bed.kubectl("get", "pods", "-l", "app=web", "-o", "json"));
    expect(list.items).toHaveLength(2);
    expect(list.items[0].status.podIPs).toHaveLength(2);
  });

  it("selects by labels and fields", async () => {
    expect(await bed.kubectl("get", "pods", "-l", "app in (web),app!=other", "-o", "name")).toMatch(/pod\/web-/);
    expect(await bed.kubectl("get", "pods", "-l", "app=nobody", "-o", "name")).toBe("");
    const onFirst = await bed.kubectl("get", "pods", "--field-selector", "spec.nodeName=node1", "-o", "name");
    expect(onFirst.trim().split("\n")).toHaveLength(1);
  });

  it("pages through long lists", async () => {
    for (let i = 0; i < 7; i++) await bed.kubectl("create", "configmap", `page-${i}`);
    const names = await bed.kubectl("get", "configmaps", "--chunk-size=3", "-o", "name");
    expect(names.match(/page-/g)).toHaveLength(7);
  });

  it("applies twice without change, by client and by server", async () => {
    const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: twice}\ndata: {a: '1', b: '2'}\n";
    expect(await bed.apply(manifest)).toContain("created");
    expect(await bed.apply(manifest)).toContain("unchanged");
    expect(await bed.apply(manifest.replace(", b: '2'", ""))).toContain("configured");
    expect(await bed.kubectl("get", "configmap", "twice", "-o", "jsonpath={.data}")).toBe('{"a":"1"}');

    const server = manifest.replace("twice", "by-server");
    expect(await bed.apply(server, "--server-side")).toContain("serverside-applied");
    await bed.apply(server.replace(", b: '2'", ""), "--server-side");
    expect(await bed.kubectl("get", "configmap", "by-server", "-o", "jsonpath={.data}")).toBe('{"a":"1"}');
  });

  it("refuses a server-side apply over another manager's value, unless forced", async () => {
    const manifest = (value: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {a: '${value}'}\n`;
    await bed.apply(manifest("1"), "--server-side", "--field-manager=first");
    const second = ["apply", "--server-side", "--field-manager=second", "-f", "-"];
    const refused = await bed.withInput(manifest("2"), ...second);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('conflict with "first": .data.a');
    expect((await bed.withInput(manifest("2"), ...second, "--force-conflicts")).code).toBe(0);
  });

  it("labels, annotates, patches in three ways and deletes", async () => {
    await bed.kubectl("create", "configmap", "changed", "--from-literal=a=1");
    await bed.kubectl("label", "configmap", "changed", "team=blue");
    await bed.kubectl("annotate", "configmap", "changed", "note=hello");
    await bed.kubectl("patch", "configmap", "changed", "-p", '{"data":{"b":"2"}}');
    await bed.kubectl("patch", "configmap", "changed", "--type=merge", "-p", '{"data":{"a":null}}');
    await bed.kubectl(
      "patch",
      "configmap",
      "changed",
      "--type=json",
      "-p",
      '[{"op":"add","path":"/data/c","value":"3"}]',
    );
    const object = JSON.parse(await bed.kubectl("get", "configmap", "changed", "-o", "json"));
    expect(object.data).toEqual({ b: "2", c: "3" });
    expect(object.metadata.labels).toEqual({ team: "blue" });
    expect(object.metadata.annotations.note).toBe("hello");
    expect(await bed.kubectl("delete", "configmap", "changed")).toContain("deleted");
    const gone = await bed.try("get", "configmap", "changed");
    expect(gone.stderr).toContain('configmaps "changed" not found');
  });

  it("describes pods, services and nodes with their events", async () => {
    const [name = ""] = (await bed.kubectl("get", "pods", "-l", "app=web", "-o", "name")).split("\n");
    const pod = await bed.kubectl("describe", name);
    expect(pod).toContain("Started container web");
    expect(pod).toContain("Successfully assigned");
    expect(await bed.kubectl("describe", "service", "web")).toMatch(/Endpoints: +10\./);
    expect(await bed.kubectl("describe", "node", "node1")).toContain("Non-terminated Pods");
    expect(await bed.kubectl("describe", "deployment", "web")).toContain("ScalingReplicaSet");
  });

  it("watches", async () => {
    const watching = bed.try("get", "configmap", "--watch-only", "--request-timeout=3s");
    await eventually("kubectl has seen the change", async () => {
      await bed.kubectl("delete", "configmap", "watched", "--ignore-not-found");
      await bed.kubectl("create", "configmap", "watched");
      return true;
    });
    expect((await watching).stdout).toMatch(/watched/);
  });

  it("shows logs, the last lines of them, and follows them", async () => {
    expect(await bed.kubectl("logs", "deployment/web", "--tail=1")).toBe("listening\n");
    await bed.kubectl(
      "run",
      "talker",
      "--image=busybox",
      "--restart=Never",
      "--",
      "sh",
      "-c",
      "for i in 1 2 3; do echo $i; sleep 0.3; done",
    );
    await bed
      .kubectl("wait", "pod/talker", "--for=jsonpath={.status.containerStatuses[0].state.running}", "--timeout=10s")
      .catch(() => {});
    expect(await bed.kubectl("logs", "-f", "talker")).toBe("1\n2\n3\n");
  });

  it("executes commands: output, input, exit code, terminal", async () => {
    expect(await bed.kubectl("exec", "deployment/web", "--", "sh", "-c", "echo out; echo $HOSTNAME")).toMatch(
      /^out\nweb-/,
    );
    const failed = await bed.try("exec", "deployment/web", "--", "sh", "-c", "echo wrong >&2; exit 7");
    expect(failed.code).toBe(7);
    expect(failed.stderr).toContain("wrong");
    const piped = await bed.withInput("abc\n".repeat(50_000), "exec", "-i", "deployment/web", "--", "wc", "-c");
    expect(piped.stdout.trim()).toBe("200000");
    const terminal = await bed.inTerminal("exec", "-it", "deployment/web", "--", "sh", "-c", "tty; exit 3");
    expect(terminal.stdout).toContain("/dev/pts/");
    expect(terminal.code).toBe(3);
  });

  it("says what it does not offer", async () => {
    expect((await bed.try("port-forward", "service/web", "9999:80")).stderr).toContain(
      "portforward to weft (not to kubectl)",
    );
    expect((await bed.try("get", "statefulsets")).stderr).toContain("doesn't have a resource type");
    expect((await bed.try("get", "--raw", "/apis/apps/v1/nonsense")).stderr).toContain(
      "could not find the requested resource",
    );
  });

  it("answers questions about rights and gives tokens", async () => {
    expect((await bed.try("auth", "can-i", "list", "pods")).stdout.trim()).toBe("yes");
    const asAccount = "--as=system:serviceaccount:default:default";
    expect((await bed.try("auth", "can-i", "list", "pods", asAccount)).stdout.trim()).toBe("no");
    expect((await bed.try("get", "pods", asAccount)).stderr).toContain("cannot list resource");
    await bed.kubectl("create", "clusterrole", "reader", "--verb=get,list", "--resource=pods");
    await bed.kubectl("create", "rolebinding", "reading", "--clusterrole=reader", "--serviceaccount=default:default");
    expect(await bed.kubectl("get", "pods", asAccount, "-o", "name")).toContain("pod/web-");
    const token = await bed.kubectl("create", "token", "default");
    expect(token.split(".")).toHaveLength(3);
  });

  it("names the wrong fields of an object", async () => {
    const wrong = await bed.withInput(
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: wrong}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: x}]}}}\n",
      "apply",
      "-f",
      "-",
    );
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("spec.template.metadata.labels");
    expect(wrong.stderr).toContain("spec.template.spec.containers[0].image");
  });

  it("ends a namespace with everything in it", async () => {
    await bed.kubectl("create", "namespace", "short");
    await bed.kubectl("-n", "short", "create", "deployment", "x", "--image=busybox", "--", "sleep", "100");
    await bed.kubectl("-n", "short", "rollout", "status", "deployment/x", "--timeout=10s");
    await bed.kubectl("delete", "namespace", "short", "--timeout=20s");
    expect(await bed.kubectl("get", "pods", "-A", "-o", "name")).not.toContain("pod/x-");
  });
});
