/** Deployments, ReplicaSets and DaemonSets: defaults and validation. */
import type { FieldErrors } from "../api/errors.ts";
import { isRecord, type Obj, sameJson } from "../api/objects.ts";
import { matchesSelector } from "../api/selectors.ts";
import { defaultPodSpec, validatePodSpec } from "./pod.ts";
import type { KindRules } from "./rules.ts";
import type { DaemonSet, Deployment, ReplicaSet } from "./types.ts";

export const deploymentRules: KindRules = {
  defaults(object) {
    const { spec } = object as Deployment;
    if (!isRecord(spec)) return;
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    spec.strategy ??= {};
    spec.strategy.type ??= "RollingUpdate";
    if (spec.strategy.type === "RollingUpdate") {
      spec.strategy.rollingUpdate = { maxSurge: "25%", maxUnavailable: "25%", ...spec.strategy.rollingUpdate };
    } else delete spec.strategy.rollingUpdate;
    defaultTemplate(object);
  },
  validate: validateWorkload,
};

export const replicaSetRules: KindRules = {
  defaults(object) {
    const { spec } = object as ReplicaSet;
    if (!isRecord(spec)) return;
    spec.replicas ??= 1;
    defaultTemplate(object);
  },
  validate: validateWorkload,
};

export const daemonSetRules: KindRules = {
  defaults(object) {
    const { spec } = object as DaemonSet;
    if (!isRecord(spec)) return;
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= "RollingUpdate";
    defaultTemplate(object);
  },
  validate: validateWorkload,
};

function defaultTemplate(object: Obj): void {
  const template = (object as ReplicaSet).spec.template;
  if (isRecord(template) && isRecord(template.spec)) defaultPodSpec(template.spec);
}

function validateWorkload(object: Obj, old: Obj | undefined, errors: FieldErrors): void {
  const { spec } = object as ReplicaSet;
  if (!isRecord(spec)) {
    errors.required("spec");
    return;
  }
  const { replicas } = spec;
  if (replicas !== undefined && (!Number.isInteger(replicas) || replicas < 0)) {
    errors.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
  }
  if (!isRecord(spec.selector)) errors.required("spec.selector");
  else if (!matchesSelector(spec.selector, spec.template?.metadata?.labels)) {
    const labels = spec.template?.metadata?.labels ?? {};
    errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
  }
  if (old !== undefined && !sameJson((old as ReplicaSet).spec.selector, spec.selector)) {
    errors.invalid("spec.selector", spec.selector, "field is immutable");
  }
  validatePodSpec(spec.template?.spec, "spec.template.spec", errors);
  if (spec.template?.spec?.restartPolicy !== "Always") {
    errors.unsupported("spec.template.spec.restartPolicy", spec.template?.spec?.restartPolicy, ["Always"]);
  }
}
