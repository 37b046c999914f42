/** Names, labels and annotations: what is allowed, and names that are made up. */
import { randomBytes } from "node:crypto";
import { ApiError, badRequest, FieldErrors } from "./errors.ts";
import type { Meta } from "./objects.ts";
import type { Resource } from "./resources.ts";

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const PATH_SEGMENT = /^[^/%]+$/;

/** The letters of Kubernetes' generated names: no vowels, so that no words appear. */
export function randomSuffix(length = 5): string {
  const alphabet = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from(randomBytes(length), (byte) => alphabet[byte % alphabet.length]).join("");
}

export function invalidName(resource: Resource, name: string, why: string): ApiError {
  const errors = new FieldErrors();
  if (name === "") errors.required("metadata.name", why);
  else errors.invalid("metadata.name", name, why);
  try {
    errors.throwIfAny(resource, name);
  } catch (error) {
    if (error instanceof ApiError) return error;
  }
  return badRequest(why);
}

export function validateName(resource: Resource, name: string): void {
  if (resource.group === "rbac.authorization.k8s.io") {
    if (!PATH_SEGMENT.test(name)) throw invalidName(resource, name, "may not contain '/' or '%'");
    return;
  }
  if (resource.group === "" && ["namespaces", "services"].includes(resource.plural)) {
    if (!LABEL.test(name)) {
      throw invalidName(
        resource,
        name,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
      );
    }
    return;
  }
  if (name.length > 253 || !SUBDOMAIN.test(name)) {
    throw invalidName(
      resource,
      name,
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    );
  }
}

const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

export function validateMeta(meta: Meta, errors: FieldErrors): void {
  for (const [key, value] of Object.entries(meta.labels ?? {})) {
    if (typeof value !== "string" || value.length > 63 || !LABEL_VALUE.test(value)) {
      errors.invalid("metadata.labels", value, `the value of label "${key}" is no valid label value`);
    }
  }
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    if (typeof value !== "string") errors.invalid("metadata.annotations", value, `"${key}" must be a string`);
  }
}
