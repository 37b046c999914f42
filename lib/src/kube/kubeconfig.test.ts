import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { KubeAccessError } from "./errors.ts";
import { Kubeconfig } from "./kubeconfig.ts";

describe("a kubeconfig", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "weft-kubeconfig-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (name: string, content: unknown, mode = 0o600) => {
    const path = join(folder, name);
    writeFileSync(path, typeof content === "string" ? content : stringify(content), { mode });
    return path;
  };
  const config = (name: string, user: object, more: object = {}) => ({
    "current-context": name,
    clusters: [{ name, cluster: { server: `https://${name}:6443/` } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: `ns-${name}` } }],
    ...more,
  });
  const printing = (credential: object) =>
    `#!/bin/sh\necho run >>"$0.runs"\ncat <<'EOF'\n${JSON.stringify(credential)}\nEOF\n`;

  it("may be several files, where the first to name an entry wins", () => {
    const a = write("a", config("one", { token: "first" }));
    const b = write("b", {
      ...config("two", { token: "second" }),
      users: [
        { name: "one", user: { token: "never" } },
        { name: "two", user: { token: "second" } },
      ],
    });
    const all = Kubeconfig.load([join(folder, "missing"), a, b]);
    expect(all.contexts).toEqual(["one", "two"]);
    expect(all.currentContext).toBe("one");
    expect(all.access({}).authorization?.()).toBe("Bearer first");
    expect(all.access({}, "two")).toMatchObject({ server: "https://two:6443" });
    expect(all.namespace("two")).toBe("ns-two");
  });

  it("names what is missing, and what there is", () => {
    const path = write("a", config("one", {}));
    expect(() => Kubeconfig.load([path]).access({}, "two")).toThrow(
      `${path}: no entry "two" in contexts; there are: one`,
    );
    expect(() => Kubeconfig.load([join(folder, "missing")])).toThrow(/missing: no such file/);
    expect(() => Kubeconfig.load([write("b", "a: [")])).toThrow(/not a kubeconfig/);
    expect(() => Kubeconfig.load([write("c", config("one", {}, { "current-context": "" }))]).access({})).toThrow(
      /no current-context; there are: one/,
    );
  });

  it("runs a credential plugin once until what it gave expires", () => {
    const later = new Date(Date.now() + 3_600_000).toISOString();
    const good = { kind: "ExecCredential", status: { token: "from-plugin", expirationTimestamp: later } };
    write("plugin", printing(good), 0o700);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin", args: ["a"] };
    const { authorization } = Kubeconfig.load([write("a", config("one", { exec }))]).access({ PATH: process.env.PATH });
    expect([authorization?.(), authorization?.()]).toEqual(["Bearer from-plugin", "Bearer from-plugin"]);
    write("plugin", "#!/bin/sh\nexit 7\n", 0o700);
    expect(authorization?.()).toBe("Bearer from-plugin");
  });

  it("runs it again before each request when what it gave has expired", () => {
    const past = new Date(Date.now() - 1000).toISOString();
    write("plugin", printing({ kind: "ExecCredential", status: { token: "old", expirationTimestamp: past } }), 0o700);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin" };
    const { authorization } = Kubeconfig.load([write("a", config("one", { exec }))]).access({ PATH: process.env.PATH });
    write("plugin", printing({ kind: "ExecCredential", status: { token: "new" } }), 0o700);
    expect(authorization?.()).toBe("Bearer new");
  });

  it("takes a certificate of a plugin", () => {
    const status = { clientCertificateData: "CERT", clientKeyData: "KEY" };
    write("plugin", printing({ kind: "ExecCredential", status }), 0o700);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin" };
    const access = Kubeconfig.load([write("a", config("one", { exec }))]).access({ PATH: process.env.PATH });
    expect(access).toMatchObject({ cert: "CERT", key: "KEY" });
    expect(access.authorization?.()).toBe("");
  });

  it("says what a plugin did wrong, and not what it printed", () => {
    const refusal = (command: string, more: object = {}) => {
      const exec = { apiVersion: "client.authentication.k8s.io/v1", command, ...more };
      try {
        Kubeconfig.load([write("a", config("one", { exec }))]).access({ PATH: process.env.PATH });
      } catch (error) {
        return error instanceof KubeAccessError ? error.message : `not a KubeAccessError: ${error}`;
      }
      return "";
    };
    write("failing", "#!/bin/sh\nexit 7\n", 0o700);
    write("babbling", "#!/bin/sh\necho secret\n", 0o700);
    expect(refusal("./failing")).toMatch(/failing ended with exit code 7/);
    expect(refusal("./babbling")).toMatch(/printed no ExecCredential/);
    expect(refusal("./babbling")).not.toContain("secret");
    expect(refusal("./missing", { installHint: "install it from x\nor y" })).toMatch(
      /cannot be run: .*; install it from x$/,
    );
    expect(refusal("./failing", { provideClusterInfo: true })).toMatch(/provideClusterInfo is not offered/);
  });
});
