/** ReferenceGrants: which kinds of objects of other namespaces may name something of a grant's own namespace. */
import type { IstioObject } from "#lib/kube/types.ts";
import { Collection } from "../../model/collection.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";

/** Who names something. */
export interface Referrer {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
}

/** What is named. */
export interface Referent extends Referrer {
  readonly name: string;
}

export interface ReferenceGrantFacts extends Meta {
  readonly from: readonly Referrer[];
  /** Without a name: all of the kind. */
  readonly to: readonly (Pick<Referent, "group" | "kind"> & { readonly name?: string })[];
}

/** What makes no sense in a grant grants nothing. */
export function referenceGrantFacts(object: IstioObject): ReferenceGrantFacts {
  const problems: Problem[] = [];
  const spec = new Fields(object.spec, "spec", problems);
  const from = spec.objects("from").flatMap((fields) => {
    const [group, kind, namespace] = ["group", "kind", "namespace"].map((field) => fields.string(field));
    return group === undefined || !kind || !namespace ? [] : [{ group, kind, namespace }];
  });
  const to = spec.objects("to").flatMap((fields) => {
    const before = problems.length;
    const [group, kind, name] = ["group", "kind", "name"].map((field) => fields.string(field));
    if (group === undefined || !kind || problems.length > before) return [];
    return [{ group, kind, ...(name ? { name } : {}) }];
  });
  return { ...metaOf(object), from, to };
}

export class ReferenceGrants {
  readonly all: Collection<ReferenceGrantFacts>;

  /** `onChange` is told of the namespace in which other things may be named now. */
  constructor(onChange: (namespace: string) => void) {
    this.all = new Collection((before, after) => {
      const changed = after ?? before;
      if (changed !== undefined) onChange(changed.namespace);
    });
  }

  /** Within one namespace everything may be named. */
  allows(from: Referrer, to: Referent): boolean {
    if (from.namespace === to.namespace) return true;
    for (const grant of this.all.inNamespace(to.namespace)) {
      const named = grant.to.some(
        ({ group, kind, name }) => group === to.group && kind === to.kind && (name ?? to.name) === to.name,
      );
      const referrer = grant.from.some(
        ({ group, kind, namespace }) => group === from.group && kind === from.kind && namespace === from.namespace,
      );
      if (named && referrer) return true;
    }
    return false;
  }
}
