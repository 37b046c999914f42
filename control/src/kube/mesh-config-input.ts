/** The mesh's configuration as Istio keeps it: key `mesh` of the ConfigMap `istio`. */
import type { ReflectorHandler } from "#lib/kube/reflector.ts";
import { CONFIG_MAPS, type ConfigMap } from "#lib/kube/types.ts";
import { type MeshConfigFacts, meshConfigFacts } from "../l7/istio/mesh-config.ts";
import type { Problem } from "../model/fields.ts";
import type { Input } from "./inputs.ts";

const NAME = "istio";
const KEY = "mesh";

export interface MeshConfigEvents {
  readonly onConfig: (config: MeshConfigFacts) => void;
  /** `keptLastGood`: an earlier version stays in force; else what is understood of this one is. */
  readonly onProblems: (problems: readonly Problem[], keptLastGood: boolean) => void;
}

/** Without the ConfigMap Istio's defaults are in force. */
export function meshConfigInput(namespace: string, { onConfig, onProblems }: MeshConfigEvents): Input {
  let hasGood = false;
  let last: string | undefined;
  const take = (text: string): void => {
    if (text === last) return;
    last = text;
    const problems: Problem[] = [];
    const config = meshConfigFacts(text, problems);
    if (problems.length > 0) onProblems(problems, hasGood);
    if (problems.length > 0 && hasGood) return;
    hasGood = problems.length === 0;
    onConfig(config);
  };
  const isOurs = ({ metadata }: ConfigMap) => metadata.name === NAME && metadata.namespace === namespace;
  const handler: ReflectorHandler<ConfigMap> = {
    replace: (objects) => take(objects.find(isOurs)?.data?.[KEY] ?? ""),
    upsert: (object) => {
      if (isOurs(object)) take(object.data?.[KEY] ?? "");
    },
    remove: (object) => {
      if (isOurs(object)) take("");
    },
  };
  const scope = { namespace, fieldSelector: `metadata.name=${NAME}` };
  return { type: CONFIG_MAPS, handler, optional: false, scope } as unknown as Input;
}
