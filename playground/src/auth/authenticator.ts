/** Who a request comes from: a client certificate of the playground's authority, or a service account's token. */
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { forbidden } from "../api/errors.ts";
import type { Store } from "../api/store.ts";
import { API_AUDIENCE, type TokenClaims, type TokenSigner } from "./tokens.ts";

export interface User {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

const ADMIN_GROUP = "system:masters";

export class Authenticator {
  readonly #tokens: TokenSigner;
  readonly #store: Store;

  constructor(tokens: TokenSigner, store: Store) {
    this.#tokens = tokens;
    this.#store = store;
  }

  /** Undefined: refuse with 401. Throws 403 when the client may not act as somebody else. */
  authenticate(request: IncomingMessage): User | undefined {
    const user = this.#identify(request);
    const wanted = request.headers["impersonate-user"];
    if (user === undefined || typeof wanted !== "string") return user;
    if (!user.groups.includes(ADMIN_GROUP)) throw forbidden(`User "${user.username}" cannot impersonate users`);
    const groups = [request.headers["impersonate-group"] ?? []].flat().flatMap((each) => each.split(/,\s*/));
    return { username: wanted, groups: [...groups, "system:authenticated"] };
  }

  #identify(request: IncomingMessage): User | undefined {
    const bearer = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (bearer !== undefined) return this.review(bearer, [])?.user;
    const { socket } = request;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
    const subject = socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] } | undefined;
    if (subject?.CN === undefined) return undefined;
    const groups = subject.O === undefined ? [] : [subject.O].flat();
    return { username: subject.CN, groups: [...groups, "system:authenticated"] };
  }

  /** Who a token stands for and which of `audiences` (none: the API's own) it is good for. */
  review(token: string, audiences: readonly string[]): { user: User; audiences: string[] } | undefined {
    const claims = this.#tokens.verify(token);
    if (claims === undefined || !this.#exists(claims)) return undefined;
    const wanted = audiences.length === 0 ? [API_AUDIENCE] : audiences;
    const good = wanted.filter((each) => claims.audiences.includes(each));
    return good.length === 0 ? undefined : { user: userOf(claims), audiences: good };
  }

  /** A token dies with its account and its pod. */
  #exists(claims: TokenClaims): boolean {
    const account = this.#store.get("serviceaccounts", `${claims.namespace}/${claims.account.name}`);
    if (account?.metadata.uid !== claims.account.uid) return false;
    if (claims.pod === undefined) return true;
    return this.#store.get("pods", `${claims.namespace}/${claims.pod.name}`)?.metadata.uid === claims.pod.uid;
  }
}

function userOf(claims: TokenClaims): User {
  const prefix = "authentication.kubernetes.io";
  const { namespace, account, pod, node } = claims;
  return {
    username: `system:serviceaccount:${namespace}:${account.name}`,
    uid: account.uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
    extra: {
      [`${prefix}/credential-id`]: [`JTI=${claims.id}`],
      ...(pod === undefined ? {} : { [`${prefix}/pod-name`]: [pod.name], [`${prefix}/pod-uid`]: [pod.uid] }),
      ...(node === undefined ? {} : { [`${prefix}/node-name`]: [node.name], [`${prefix}/node-uid`]: [node.uid] }),
    },
  };
}
