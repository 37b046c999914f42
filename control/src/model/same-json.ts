/**
 * Whether two values of JSON are the same. Several times as fast as the platform's comparison of any two values, which
 * counts where an object has thousands of parts and one of them was edited.
 */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && sameLists(a, b);
  return !Array.isArray(b) && sameObjects(a as JsonObject, b as JsonObject);
}

type JsonObject = Readonly<Record<string, unknown>>;

function sameLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (!sameJson(a[index], b[index])) return false;
  return true;
}

function sameObjects(a: JsonObject, b: JsonObject): boolean {
  let surplus = 0;
  for (const _ in b) surplus++;
  for (const name in a) {
    if (!Object.hasOwn(b, name) || !sameJson(a[name], b[name])) return false;
    surplus--;
  }
  return surplus === 0;
}
