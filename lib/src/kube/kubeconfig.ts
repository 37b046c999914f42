/** Kubeconfig files: clusters, users and contexts of one or of several files, the first to name an entry winning. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import type { Env } from "../env.ts";
import type { KubeAccess } from "./access.ts";
import { KubeAccessError } from "./errors.ts";
import { ExecCredential, parseExecPlugin } from "./exec-credential.ts";
import { bearerFromFile, readText } from "./token-file.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What is listed under a name, and the file that lists it: paths in it are relative to that file. */
interface Entry {
  readonly fields: Fields;
  readonly file: string;
}

const LISTS = { clusters: "cluster", users: "user", contexts: "context" } as const;
type List = keyof typeof LISTS;

export class Kubeconfig {
  readonly #files: readonly string[];
  readonly #entries: Readonly<Record<List, ReadonlyMap<string, Entry>>>;
  readonly currentContext: string;

  private constructor(files: readonly string[], documents: readonly Entry[]) {
    this.#files = files;
    this.#entries = {
      clusters: merged(documents, "clusters"),
      users: merged(documents, "users"),
      contexts: merged(documents, "contexts"),
    };
    this.currentContext =
      documents.map(({ fields }) => text(fields["current-context"])).find((name) => name !== undefined) ?? "";
  }

  /** Files that do not exist are passed over while one of them does. Throws KubeAccessError. */
  static load(files: readonly string[]): Kubeconfig {
    const present = files.filter((file) => existsSync(file));
    if (present.length === 0) throw new KubeAccessError(`${files.join(", ")}: no such file`);
    return new Kubeconfig(
      present,
      present.map((file) => ({ fields: parsed(file), file })),
    );
  }

  /** Where this was read, for messages. */
  get source(): string {
    return this.#files.join(", ");
  }

  get contexts(): readonly string[] {
    return [...this.#entries.contexts.keys()];
  }

  /** The namespace that a context prefers. */
  namespace(context = this.currentContext): string | undefined {
    return text(this.#find("contexts", context).fields.namespace);
  }

  /** The way to the API that a context names. Credential plugins are run in `env`. Throws KubeAccessError. */
  access(env: Env, context = this.currentContext): KubeAccess {
    const { fields } = this.#find("contexts", context);
    const cluster = this.#find("clusters", text(fields.cluster) ?? "");
    const user = text(fields.user) === undefined ? undefined : this.#find("users", text(fields.user) ?? "");
    const server = text(cluster.fields.server);
    if (server === undefined) {
      throw new KubeAccessError(`${cluster.file}: cluster "${text(fields.cluster)}" names no server`);
    }
    const ca = pem(cluster, "certificate-authority");
    const servername = text(cluster.fields["tls-server-name"]);
    return {
      server: server.replace(/\/+$/, ""),
      ...(ca === undefined ? {} : { ca }),
      ...(servername === undefined ? {} : { servername }),
      ...(cluster.fields["insecure-skip-tls-verify"] === true ? { skipTlsVerify: true } : {}),
      ...(user === undefined ? {} : credentials(user, env)),
    };
  }

  #find(list: List, name: string): Entry {
    const entry = this.#entries[list].get(name);
    if (entry !== undefined) return entry;
    const known = [...this.#entries[list].keys()];
    const others = known.length === 0 ? "there are none" : `there are: ${known.join(", ")}`;
    const what = list === "contexts" && name === "" ? "no current-context" : `no entry "${name}" in ${list}`;
    throw new KubeAccessError(`${this.source}: ${what}; ${others}`);
  }
}

type Credentials = Pick<KubeAccess, "cert" | "key" | "authorization">;

function credentials(user: Entry, env: Env): Credentials {
  const { fields, file } = user;
  if (fields["auth-provider"] !== undefined) {
    throw new KubeAccessError(`${file}: auth-provider is gone from Kubernetes; use exec, a token or a certificate`);
  }
  if (fields.exec !== undefined) {
    const plugin = new ExecCredential(parseExecPlugin(fields.exec, file), env);
    return { ...plugin.certificate(), authorization: () => plugin.authorization() };
  }
  const cert = pem(user, "client-certificate");
  const key = pem(user, "client-key");
  const authorization = header(user);
  return {
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

function header({ fields, file }: Entry): (() => string) | undefined {
  const tokenFile = text(fields.tokenFile);
  if (tokenFile !== undefined) return bearerFromFile(resolve(dirname(file), tokenFile));
  const token = text(fields.token);
  if (token !== undefined) return () => `Bearer ${token}`;
  const username = text(fields.username);
  if (username === undefined) return undefined;
  const basic = Buffer.from(`${username}:${text(fields.password) ?? ""}`).toString("base64");
  return () => `Basic ${basic}`;
}

/** `<field>-data` (base64) or the file named by `<field>`. */
function pem({ fields, file }: Entry, field: string): string | undefined {
  const data = text(fields[`${field}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const path = text(fields[field]);
  return path === undefined ? undefined : readText(resolve(dirname(file), path));
}

function merged(documents: readonly Entry[], list: List): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const { fields, file } of documents) {
    const items: unknown = fields[list];
    for (const item of Array.isArray(items) ? items : []) {
      const record = asFields(item, file);
      const name = text(record.name);
      if (name === undefined || entries.has(name)) continue;
      entries.set(name, { fields: asFields(record[LISTS[list]] ?? {}, file), file });
    }
  }
  return entries;
}

function parsed(file: string): Fields {
  try {
    return asFields(parse(readText(file)), file);
  } catch (error) {
    if (error instanceof KubeAccessError) throw error;
    throw new KubeAccessError(`${file}: not a kubeconfig`, { cause: error });
  }
}

function asFields(value: unknown, file: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new KubeAccessError(`${file}: not a kubeconfig`);
  }
  return value as Fields;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
