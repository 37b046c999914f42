/** Pods and pod templates: defaults, admission of the service account, validation. */
import { randomBytes } from "node:crypto";
import { ApiError, type FieldErrors } from "../api/errors.ts";
import { clone, isRecord, type Obj, sameJson } from "../api/objects.ts";
import type { KindRules } from "./rules.ts";
import type { Container, Pod, PodSpec, Probe } from "./types.ts";

const TOKEN_LIFE_SECONDS = 3607;
export const TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** `accountOf` finds a service account, to refuse pods whose account does not exist. */
export function podRules(accountOf: (namespace: string, name: string) => Obj | undefined): KindRules {
  return {
    defaults(object) {
      const pod = object as Pod;
      if (!isRecord(pod.spec)) return;
      defaultPodSpec(pod.spec);
      pod.spec.serviceAccountName ??= pod.spec.serviceAccount ?? "default";
      pod.spec.serviceAccount = pod.spec.serviceAccountName;
      pod.status ??= {};
      pod.status.phase ??= "Pending";
      pod.status.qosClass ??= "BestEffort";
    },
    admit(object) {
      const pod = object as Pod;
      const namespace = pod.metadata.namespace ?? "";
      const name = pod.spec.serviceAccountName ?? "default";
      const account = accountOf(namespace, name);
      if (account === undefined) {
        const why = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`;
        throw new ApiError(403, "Forbidden", `pods "${pod.metadata.name}" is forbidden: ${why}`);
      }
      const isWanted = pod.spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
      if (isWanted === true) mountToken(pod.spec);
    },
    validate(object, old, errors) {
      const pod = object as Pod;
      validatePodSpec(pod.spec, "spec", errors);
      if (old !== undefined) validateUnchanged(pod, old as Pod, errors);
    },
  };
}

function mountToken(spec: PodSpec): void {
  const mounted = (container: Container) => container.volumeMounts?.some((each) => each.mountPath === TOKEN_MOUNT);
  const bare = [...spec.containers, ...(spec.initContainers ?? [])].filter((container) => !mounted(container));
  if (bare.length === 0) return;
  const name = `kube-api-access-${randomBytes(3).toString("hex").slice(0, 5)}`;
  spec.volumes = [
    ...(spec.volumes ?? []),
    {
      name,
      projected: {
        defaultMode: 0o644,
        sources: [
          { serviceAccountToken: { expirationSeconds: TOKEN_LIFE_SECONDS, path: "token" } },
          { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
          { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
        ],
      },
    },
  ];
  for (const container of bare) {
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, mountPath: TOKEN_MOUNT, readOnly: true }];
  }
}

export function defaultPodSpec(spec: PodSpec): void {
  spec.restartPolicy ??= "Always";
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ??= "ClusterFirst";
  spec.securityContext ??= {};
  spec.schedulerName ??= "default-scheduler";
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) defaultContainer(container);
}

function defaultContainer(container: Container): void {
  container.imagePullPolicy ??= /:[^/]+$/.test(container.image ?? "") ? "IfNotPresent" : "Always";
  container.terminationMessagePath ??= "/dev/termination-log";
  container.terminationMessagePolicy ??= "File";
  container.resources ??= {};
  for (const port of container.ports ?? []) port.protocol ??= "TCP";
  for (const probe of [container.readinessProbe, container.livenessProbe, container.startupProbe]) {
    if (probe !== undefined) defaultProbe(probe);
  }
}

function defaultProbe(probe: Probe): void {
  probe.periodSeconds ??= 10;
  probe.timeoutSeconds ??= 1;
  probe.successThreshold ??= 1;
  probe.failureThreshold ??= 3;
  if (probe.httpGet !== undefined) {
    probe.httpGet.path ??= "/";
    probe.httpGet.scheme ??= "HTTP";
  }
}

export function validatePodSpec(spec: PodSpec | undefined, path: string, errors: FieldErrors): void {
  if (!isRecord(spec) || !Array.isArray(spec.containers) || spec.containers.length === 0) {
    errors.required(`${path}.containers`);
    return;
  }
  if (!["Always", "OnFailure", "Never"].includes(spec.restartPolicy ?? "")) {
    errors.unsupported(`${path}.restartPolicy`, spec.restartPolicy, ["Always", "OnFailure", "Never"]);
  }
  const volumes = new Set((spec.volumes ?? []).map((volume) => volume.name));
  const names = new Set<string>();
  for (const list of ["containers", "initContainers"] as const) {
    (spec[list] ?? []).forEach((container, i) => {
      const at = `${path}.${list}[${i}]`;
      validateContainer(container, at, volumes, errors);
      if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
      names.add(container.name);
    });
  }
}

function validateContainer(container: Container, at: string, volumes: Set<string>, errors: FieldErrors): void {
  if (!container.name) errors.required(`${at}.name`);
  else if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(container.name)) {
    errors.invalid(`${at}.name`, container.name, "a lowercase RFC 1123 label is expected");
  }
  if (!container.image) errors.required(`${at}.image`);
  (container.ports ?? []).forEach((port, i) => {
    if (!Number.isInteger(port.containerPort) || port.containerPort < 1 || port.containerPort > 65_535) {
      errors.invalid(`${at}.ports[${i}].containerPort`, port.containerPort, "must be between 1 and 65535, inclusive");
    }
  });
  (container.volumeMounts ?? []).forEach((mount, i) => {
    if (!volumes.has(mount.name)) {
      errors.causes.push({
        reason: "FieldValueNotFound",
        message: `Not found: ${JSON.stringify(mount.name)}`,
        field: `${at}.volumeMounts[${i}].name`,
      });
    }
    if (!mount.mountPath) errors.required(`${at}.volumeMounts[${i}].mountPath`);
  });
}

/** Of a pod's spec only images, the deadline and tolerations may change. */
function validateUnchanged(pod: Pod, old: Pod, errors: FieldErrors): void {
  const comparable = (spec: PodSpec) => {
    const copy = clone(spec);
    for (const container of [...copy.containers, ...(copy.initContainers ?? [])]) container.image = "";
    const { activeDeadlineSeconds: _a, tolerations: _t, terminationGracePeriodSeconds: _g, ...rest } = copy;
    // The scheduler sets the node once.
    if (old.spec.nodeName === undefined) delete rest.nodeName;
    return rest;
  };
  if (sameJson(comparable(pod.spec), comparable(old.spec))) return;
  errors.causes.push({
    reason: "FieldValueForbidden",
    message: "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, `spec.tolerations`",
    field: "spec",
  });
}
