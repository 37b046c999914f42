/** Takes secrets out of what leaves a cluster in a report. When in doubt, out. */

export const REDACTED = "redacted";

/** Fields whose values are secrets, whatever they are in. */
const SECRET_NAME =
  /token|passw|secret(?!name)|credential(?!name)|authorization$|private_?key|api_?key|cookie$|signature/i;
/** Names that only look so. */
const HARMLESS_NAME = /^(automountServiceAccountToken|serviceAccountToken|secretKeyRef|tokenAudience|secretTtlMs)$/;
const PEM_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const BEARER = /\b(Bearer|Basic) [A-Za-z0-9._~+/=-]{8,}/gi;
/** JSON Web Tokens: three parts of which the first begins with `{"`. */
const JWT = /\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g;
const ASSIGNED =
  /\b((?:[\w-]*(?:password|passwd|secret|api[_-]?key|access[_-]?token))["']?\s*[=:]\s*["']?)[^\s"',}&]+/gi;

export function redactText(text: string): string {
  return text
    .replace(PEM_KEY, REDACTED)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(JWT, REDACTED)
    .replace(ASSIGNED, `$1${REDACTED}`);
}

/** The same object without the values of secret fields, and with every other text redacted as text. */
export function redact(value: unknown): unknown {
  if (typeof value === "string") return redactText(value);
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== "object" || value === null) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const isPair = typeof fields.name === "string" && isSecretName(fields.name);
  return Object.fromEntries(
    Object.entries(fields).map(([key, each]) => {
      const isSecret = isSecretName(key) || (isPair && key === "value");
      return [key, isSecret && isScalar(each) ? REDACTED : redact(each)];
    }),
  );
}

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) && !HARMLESS_NAME.test(name);
}

function isScalar(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number";
}
