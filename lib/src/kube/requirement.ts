/** One requirement of a label or node selector: `key operator (values)`. */

/** Whether `value`, undefined where the key is missing, is what the operator asks for. An unknown operator: never. */
export function meetsRequirement(
  value: string | undefined,
  { operator, values = [] }: { readonly operator: string; readonly values?: readonly string[] },
): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    default:
      return false;
  }
}
