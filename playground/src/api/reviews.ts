/** Kinds that are questions: token and access reviews, token requests. */
import type { Authenticator, User } from "../auth/authenticator.ts";
import { isAllowed } from "../auth/rbac.ts";
import { API_AUDIENCE, type TokenSigner } from "../auth/tokens.ts";
import { badRequest, notFound } from "./errors.ts";
import { isRecord, type JsonRecord, timestamp } from "./objects.ts";
import type { Registry } from "./registry.ts";

const TOKEN_SECONDS = { default: 3600, least: 600, most: 86_400 } as const;

export class Reviews {
  readonly #registry: Registry;
  readonly #authenticator: Authenticator;
  readonly #tokens: TokenSigner;

  constructor(registry: Registry, authenticator: Authenticator, tokens: TokenSigner) {
    this.#registry = registry;
    this.#authenticator = authenticator;
    this.#tokens = tokens;
  }

  /** The answer to a POST of one of the review kinds. */
  answer(kind: string, body: JsonRecord, user: User, namespace: string | undefined): JsonRecord {
    const spec = isRecord(body.spec) ? body.spec : {};
    switch (kind) {
      case "TokenReview":
        return { ...body, status: this.#reviewToken(spec) };
      case "SelfSubjectReview":
        return { ...body, status: { userInfo: userInfo(user) } };
      case "SelfSubjectAccessReview":
        return { ...body, status: this.#reviewAccess(user, spec, namespace) };
      default:
        return { ...body, status: this.#reviewAccess(subjectOf(spec), spec, namespace) };
    }
  }

  #reviewToken(spec: JsonRecord): JsonRecord {
    if (typeof spec.token !== "string" || spec.token === "") throw badRequest("spec.token: Required value");
    const audiences = Array.isArray(spec.audiences) ? spec.audiences.map(String) : [];
    const found = this.#authenticator.review(spec.token, audiences);
    if (found === undefined) {
      return { user: {}, error: "the token is not valid here, has expired, or is for another audience" };
    }
    return { authenticated: true, user: userInfo(found.user), audiences: found.audiences };
  }

  #reviewAccess(user: User, spec: JsonRecord, namespace: string | undefined): JsonRecord {
    const attributes = isRecord(spec.resourceAttributes) ? spec.resourceAttributes : undefined;
    if (attributes === undefined) return { allowed: true, reason: "paths that are no resources are open" };
    const { resource = "", subresource } = attributes;
    const allowed = isAllowed(this.#registry.store, user, {
      verb: String(attributes.verb ?? ""),
      group: String(attributes.group ?? ""),
      resource: subresource ? `${resource}/${subresource}` : String(resource),
      namespace: attributes.namespace ? String(attributes.namespace) : namespace,
      name: attributes.name ? String(attributes.name) : undefined,
    });
    return { allowed };
  }

  /** TokenRequest on a service account. */
  requestToken(namespace: string, name: string, body: JsonRecord): JsonRecord {
    const { catalogue } = this.#registry;
    const account = this.#registry.get(catalogue.builtIn("serviceaccounts"), namespace, name);
    const spec = isRecord(body.spec) ? body.spec : {};
    const asked = Number(spec.expirationSeconds ?? TOKEN_SECONDS.default);
    if (!(asked >= TOKEN_SECONDS.least)) {
      throw badRequest(`spec.expirationSeconds: may not specify a duration less than ${TOKEN_SECONDS.least} seconds`);
    }
    const audiences =
      Array.isArray(spec.audiences) && spec.audiences.length > 0 ? spec.audiences.map(String) : [API_AUDIENCE];
    const bound = isRecord(spec.boundObjectRef) && spec.boundObjectRef.kind === "Pod" ? spec.boundObjectRef : undefined;
    const pods = catalogue.builtIn("pods");
    const pod = bound === undefined ? undefined : this.#registry.get(pods, namespace, String(bound.name));
    if (pod !== undefined && bound?.uid !== undefined && bound.uid !== pod.metadata.uid) {
      throw notFound(pods, pod.metadata.name);
    }
    const nodeName = isRecord(pod?.spec) && pod.spec.nodeName ? String(pod.spec.nodeName) : undefined;
    const node = nodeName === undefined ? undefined : this.#registry.store.get("nodes", nodeName);
    const { token, expiresAt } = this.#tokens.issue(
      {
        namespace,
        account: { name, uid: account.metadata.uid },
        pod: pod === undefined ? undefined : { name: pod.metadata.name, uid: pod.metadata.uid },
        node: node === undefined ? undefined : { name: node.metadata.name, uid: node.metadata.uid },
      },
      audiences,
      Math.min(asked, TOKEN_SECONDS.most),
    );
    return {
      kind: "TokenRequest",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { name, namespace, creationTimestamp: timestamp() },
      spec: { ...spec, audiences, expirationSeconds: asked },
      status: { token, expirationTimestamp: timestamp(new Date(expiresAt * 1000)) },
    };
  }
}

function userInfo(user: User): JsonRecord {
  return {
    username: user.username,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: user.groups,
    ...(user.extra === undefined ? {} : { extra: user.extra }),
  };
}

function subjectOf(spec: JsonRecord): User {
  return {
    username: String(spec.user ?? ""),
    groups: Array.isArray(spec.groups) ? spec.groups.map(String) : [],
  };
}
