/**
 * Whether an object may be stored: by the same reading as everything that is derived of it later. What cannot be
 * understood is refused; what is understood and yet will not do what it seems to say is warned of.
 */
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "#lib/kube/types.ts";
import type { Say } from "../analysis/checks/check.ts";
import { checkObject, problemCode } from "../analysis/checks/object.ts";
import { MeshSnapshot } from "../analysis/mesh-snapshot.ts";
import { levelOf } from "../analysis/message.ts";
import type { Surroundings } from "../analysis/surroundings.ts";
import { describeProblems, type Problem } from "../model/fields.ts";
import { keyOf, metaOf } from "../model/meta.ts";
import type { MeshSettings } from "../model/settings.ts";
import { type AdmissionRequest, ALLOWED, type Decision } from "./review.ts";

export interface ValidatorOptions {
  readonly settings: MeshSettings;
  /** Undefined until everything is loaded: then an object is judged by itself alone. */
  readonly around: () => Surroundings | undefined;
}

export function decide({ operation, object, oldObject }: AdmissionRequest, options: ValidatorOptions): Decision {
  if (operation !== "CREATE" && operation !== "UPDATE") return ALLOWED;
  const own = new MeshSnapshot([object], options.settings);
  const problems = own.problemsOf(object);
  const wrong = problems.filter((problem) => problemCode(object, problem) === "IST0106");
  // Whoever takes a finalizer off, or a label, must not be held up by what was there before.
  const isUntouched = oldObject !== undefined && isDeepStrictEqual(specOf(oldObject), specOf(object));
  if (wrong.length > 0 && !isUntouched) {
    return { allowed: false, message: `IST0106: ${describeProblems(wrong)}`, warnings: [] };
  }
  const warnings = problems.map((problem) => `[${problemCode(object, problem)}] ${describe(problem)}`);
  const say: Say = (code, text) => {
    if (levelOf({ code }) !== "Info") warnings.push(`[${code}] ${text}`);
  };
  const around = options.around();
  if (around !== undefined) checkObject(object, { key: keyOf(metaOf(object)), own, around }, say);
  return { allowed: true, message: "", warnings };
}

function describe(problem: Problem): string {
  return `${describeProblems([problem])}; this version of the object is not in force here`;
}

function specOf(object: KubeObject): unknown {
  return (object as { spec?: unknown }).spec;
}
