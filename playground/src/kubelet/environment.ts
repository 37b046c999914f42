/** A container's environment: literal values, the downward API, config maps and secrets. */
import type { Container, EnvVar, Pod } from "../kinds/types.ts";

/** Reads what variables refer to; undefined where there is none. */
export interface References {
  configMap(name: string): Readonly<Record<string, string>> | undefined;
  secret(name: string): Readonly<Record<string, string>> | undefined;
}

export interface PodFacts {
  readonly pod: Pod;
  readonly podIps: readonly string[];
  readonly hostIps: readonly string[];
}

/** A reference that leads nowhere; the container waits. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentError";
}

export function containerEnvironment(
  container: Container,
  facts: PodFacts,
  references: References,
  base: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = { ...base };
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const ref = configMapRef ?? secretRef;
    if (ref === undefined) continue;
    const values = configMapRef ? references.configMap(ref.name) : references.secret(ref.name);
    if (values === undefined && ref.optional !== true) throw missing(configMapRef ? "configmap" : "secret", ref.name);
    for (const [key, value] of Object.entries(values ?? {})) env[prefix + key] = value;
  }
  for (const variable of container.env ?? []) {
    const value = variableValue(variable, container, facts, references);
    if (value !== undefined) env[variable.name] = expand(value, env);
  }
  return env;
}

/** `$(NAME)` becomes the value; `$$(NAME)` stays `$(NAME)`; unknown names stay as they are. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) =>
    whole === "$$" ? "$" : (env[name ?? ""] ?? whole),
  );
}

function variableValue(
  variable: EnvVar,
  container: Container,
  facts: PodFacts,
  references: References,
): string | undefined {
  const from = variable.valueFrom;
  if (from === undefined) return variable.value ?? "";
  if (from.fieldRef !== undefined) return fieldValue(from.fieldRef.fieldPath, facts);
  if (from.resourceFieldRef !== undefined) return resourceValue(from.resourceFieldRef.resource, container);
  const ref = from.configMapKeyRef ?? from.secretKeyRef;
  if (ref === undefined) return "";
  const isMap = from.configMapKeyRef !== undefined;
  const value = (isMap ? references.configMap(ref.name) : references.secret(ref.name))?.[ref.key];
  if (value === undefined && ref.optional !== true)
    throw missing(isMap ? "configmap" : "secret", `${ref.name}/${ref.key}`);
  return value;
}

function missing(kind: string, name: string): EnvironmentError {
  return new EnvironmentError(`${kind} "${name}" not found`);
}

/** What the downward API offers; an unknown path is an error that names it. */
export function fieldValue(path: string, { pod, podIps, hostIps }: PodFacts): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed !== null) return metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2] ?? ""] ?? "";
  switch (path) {
    case "metadata.name":
      return metadata.name;
    case "metadata.namespace":
      return metadata.namespace ?? "";
    case "metadata.uid":
      return metadata.uid;
    case "metadata.labels":
    case "metadata.annotations": {
      const map = metadata[path.slice("metadata.".length) as "labels" | "annotations"] ?? {};
      return Object.entries(map)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join("\n");
    }
    case "spec.nodeName":
      return spec.nodeName ?? "";
    case "spec.serviceAccountName":
      return spec.serviceAccountName ?? "";
    case "status.podIP":
      return podIps[0] ?? "";
    case "status.podIPs":
      return podIps.join(",");
    case "status.hostIP":
      return hostIps[0] ?? "";
    case "status.hostIPs":
      return hostIps.join(",");
    default:
      throw new EnvironmentError(`fieldPath "${path}" is not offered by the playground`);
  }
}

/** Limits as whole numbers; 0 where none is set, for nothing is enforced here. */
function resourceValue(resource: string, container: Container): string {
  const [kind, name = ""] = resource.split(".");
  const text = (kind === "limits" ? container.resources?.limits : container.resources?.requests)?.[name] ?? "0";
  const [, digits = "0", unit = ""] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text) ?? [];
  const factors: Record<string, number> = { m: 0.001, k: 1e3, M: 1e6, G: 1e9, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };
  return String(Math.ceil(Number(digits) * (factors[unit] ?? 1)));
}
