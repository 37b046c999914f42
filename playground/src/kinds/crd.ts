/** CustomResourceDefinitions: a stored definition is served at once. */
import type { FieldErrors } from "../api/errors.ts";
import { isRecord, timestamp } from "../api/objects.ts";
import type { Catalogue } from "../api/resources.ts";
import type { KindRules } from "./rules.ts";
import type { CustomResourceDefinition } from "./types.ts";

/** `purge` removes the objects of a kind whose definition is gone. */
export function crdRules(catalogue: Catalogue, purge: (collection: string) => void): KindRules {
  return {
    defaults(object) {
      const crd = object as CustomResourceDefinition;
      const names = crd.spec?.names;
      if (!isRecord(names) || typeof names.kind !== "string") return;
      names.singular ??= names.kind.toLowerCase();
      names.listKind ??= `${names.kind}List`;
      crd.spec.conversion ??= { strategy: "None" };
      const now = timestamp();
      const condition = (type: string, reason: string, message: string) => ({
        lastTransitionTime: now,
        message,
        reason,
        status: "True",
        type,
      });
      crd.status ??= {};
      crd.status.acceptedNames = names;
      crd.status.storedVersions = (crd.spec.versions ?? []).filter((each) => each.storage).map((each) => each.name);
      crd.status.conditions ??= [
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
      ];
    },
    validate(object, _old, errors) {
      validateCrd(object as CustomResourceDefinition, errors);
    },
    stored(object) {
      serve(catalogue, object as CustomResourceDefinition);
    },
    removed(object) {
      const { spec } = object as CustomResourceDefinition;
      purge(`${spec.names.plural}.${spec.group}`);
      catalogue.removeAll(spec.group, spec.names.plural);
    },
  };
}

function validateCrd(crd: CustomResourceDefinition, errors: FieldErrors): void {
  const { spec } = crd;
  if (!isRecord(spec)) {
    errors.required("spec");
    return;
  }
  if (!spec.group) errors.required("spec.group");
  if (!spec.names?.plural) errors.required("spec.names.plural");
  if (!spec.names?.kind) errors.required("spec.names.kind");
  if (!["Namespaced", "Cluster"].includes(spec.scope)) {
    errors.unsupported("spec.scope", spec.scope, ["Cluster", "Namespaced"]);
  }
  if (!Array.isArray(spec.versions) || spec.versions.length === 0) {
    errors.required("spec.versions");
    return;
  }
  if (spec.versions.filter((version) => version.storage).length !== 1) {
    errors.invalid("spec.versions", spec.versions.length, "must have exactly one version marked as storage version");
  }
  const expected = `${spec.names?.plural}.${spec.group}`;
  if (crd.metadata.name !== expected) {
    errors.invalid("metadata.name", crd.metadata.name, `must be spec.names.plural+"."+spec.group (${expected})`);
  }
}

function serve(catalogue: Catalogue, crd: CustomResourceDefinition): void {
  const { group, names, scope } = crd.spec;
  catalogue.removeAll(group, names.plural);
  for (const version of crd.spec.versions) {
    if (!version.served) continue;
    catalogue.add({
      group,
      version: version.name,
      kind: names.kind,
      plural: names.plural,
      singular: names.singular ?? names.kind.toLowerCase(),
      shortNames: names.shortNames ?? [],
      namespaced: scope === "Namespaced",
      categories: names.categories ?? [],
      subresources: version.subresources?.status === undefined ? [] : ["status"],
      custom: {
        schema: version.schema?.openAPIV3Schema,
        columns: version.additionalPrinterColumns ?? [],
      },
    });
  }
}
