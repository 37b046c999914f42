/** RBAC as Kubernetes evaluates it, from the Roles and bindings in the store. Kubelets may do everything. */
import { isRecord, type Obj } from "../api/objects.ts";
import type { Store } from "../api/store.ts";
import type { User } from "./authenticator.ts";

export interface AccessAttributes {
  readonly verb: string;
  readonly group: string;
  /** With subresource: `pods/log`. */
  readonly resource: string;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

interface PolicyRule {
  verbs?: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

interface RoleRef {
  kind: string;
  name: string;
}

const ALL_POWERFUL = new Set(["system:masters", "system:nodes"]);

export function isAllowed(store: Store, user: User, access: AccessAttributes): boolean {
  if (user.groups.some((group) => ALL_POWERFUL.has(group))) return true;
  for (const binding of store.values("clusterrolebindings.rbac.authorization.k8s.io")) {
    if (binds(binding, user, undefined) && roleAllows(store, binding, undefined, access)) return true;
  }
  if (access.namespace === undefined) return false;
  for (const binding of store.values("rolebindings.rbac.authorization.k8s.io")) {
    const { namespace } = binding.metadata;
    if (namespace !== access.namespace || !binds(binding, user, namespace)) continue;
    if (roleAllows(store, binding, namespace, access)) return true;
  }
  return false;
}

function binds(binding: Obj, user: User, namespace: string | undefined): boolean {
  const subjects = Array.isArray(binding.subjects) ? binding.subjects.filter(isRecord) : [];
  return subjects.some((subject) => {
    switch (subject.kind) {
      case "User":
        return subject.name === user.username;
      case "Group":
        return user.groups.includes(String(subject.name));
      case "ServiceAccount":
        return user.username === `system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`;
      default:
        return false;
    }
  });
}

function roleAllows(store: Store, binding: Obj, namespace: string | undefined, access: AccessAttributes): boolean {
  const ref = binding.roleRef as RoleRef | undefined;
  if (ref === undefined) return false;
  if (ref.kind === "ClusterRole" && ref.name === "cluster-admin") return true;
  const role =
    ref.kind === "ClusterRole"
      ? store.get("clusterroles.rbac.authorization.k8s.io", ref.name)
      : store.get("roles.rbac.authorization.k8s.io", `${namespace}/${ref.name}`);
  const rules = Array.isArray(role?.rules) ? (role.rules as PolicyRule[]) : [];
  return rules.some((rule) => ruleAllows(rule, access));
}

function ruleAllows(rule: PolicyRule, access: AccessAttributes): boolean {
  const has = (list: string[] | undefined, value: string) => list?.includes("*") || list?.includes(value) || false;
  if (!has(rule.verbs, access.verb) || !has(rule.apiGroups, access.group)) return false;
  const subresource = access.resource.split("/")[1];
  if (!has(rule.resources, access.resource)) {
    if (subresource === undefined || !rule.resources?.includes(`*/${subresource}`)) return false;
  }
  const { resourceNames } = rule;
  return resourceNames === undefined || resourceNames.length === 0 || resourceNames.includes(access.name ?? "");
}
