/**
 * The engine's decision by L7 policies once more (`native/src/security/policy_decide.cc`), for those who have no engine:
 * the command line says by it what would happen, and why. A property test compares the two.
 */
import { RE2JS } from "re2js";
import { cidrContains } from "#lib/address.ts";
import {
  Policy_Action as Action,
  type Cidr,
  PolicyCondition_Key as Key,
  type Policy,
  type PolicyCondition,
  type PolicyOperation,
  type PolicyRule,
  type PolicySource,
  type StringMatch,
} from "#proto/l7_pb.ts";

/** What policies are asked about. */
export interface HttpSubject {
  /** SPIFFE id; empty: nobody has proved anything. */
  readonly identity: string;
  readonly sourceIp: string;
  /** The client as far as proxies are trusted. */
  readonly remoteIp: string;
  readonly destinationIp: string;
  readonly port: number;
  readonly sni: string;
  /** Undefined: TCP. */
  readonly request: HttpRequest | undefined;
  readonly token: Token | undefined;
}

export interface HttpRequest {
  readonly method: string;
  readonly authority: string;
  /** With its query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** A token that was verified. */
export interface Token {
  /** `issuer/subject`. */
  readonly principal: string;
  readonly presenter: string;
  readonly audiences: readonly string[];
  readonly claims: readonly (readonly [name: string, value: string])[];
}

export interface HttpDecision {
  readonly allowed: boolean;
  /** Who decided; undefined: no ALLOW matched (when denied), or nobody had to. */
  readonly policy?: string;
  readonly rule?: number;
}

/** DENY, then ALLOW; CUSTOM and AUDIT do not decide here. `dryRun`: those that are only tried, and they alone. */
export function decidePolicies(policies: readonly Policy[], subject: HttpSubject, dryRun = false): HttpDecision {
  const counted = policies.filter((policy) => policy.dryRun === dryRun);
  const first = (action: Action): HttpDecision | undefined => {
    for (const policy of counted) {
      const rule = policy.action === action ? matchingHttpRule(policy, subject) : undefined;
      if (rule !== undefined) return { allowed: action === Action.ALLOW, policy: policy.name, rule };
    }
    return undefined;
  };
  const denied = first(Action.DENY);
  if (denied !== undefined) return denied;
  if (!counted.some(({ action }) => action === Action.ALLOW)) return { allowed: true };
  return first(Action.ALLOW) ?? { allowed: false };
}

/** `depends`: some requests are allowed and others are not. */
export interface AnyDecision extends HttpDecision {
  readonly depends: boolean;
}

/** What can be said of every HTTP request of a peer, before there is one. */
export function decideAnyRequest(policies: readonly Policy[], about: HttpSubject): AnyDecision {
  const evaluation = new Evaluation({ ...about, request: undefined });
  const rules = (action: Action) =>
    policies
      .filter((policy) => policy.action === action && !policy.dryRun)
      .flatMap((policy) => policy.rules.map((rule, index) => ({ policy: policy.name, rule: index, message: rule })))
      // What a rule asks of the request is left out: it may hold.
      .filter(({ message }) => evaluation.holds(message));
  const [denies, allows] = [rules(Action.DENY), rules(Action.ALLOW)];
  const always = ({ message }: { readonly message: PolicyRule }) => !needsHttp(message);
  const denied = denies.find(always);
  if (denied !== undefined) return { allowed: false, depends: false, policy: denied.policy, rule: denied.rule };
  const mustAllow = policies.some((policy) => policy.action === Action.ALLOW && !policy.dryRun);
  if (mustAllow && allows.length === 0) return { allowed: false, depends: false };
  const allowed = allows.find(always);
  const depends = denies.length > 0 || (mustAllow && allowed === undefined);
  const [first] = denies.length > 0 ? denies : allows;
  const decider = depends ? first : allowed;
  return { allowed: true, depends, ...(decider === undefined ? {} : { policy: decider.policy, rule: decider.rule }) };
}

/** The first rule that matches; undefined: none. */
export function matchingHttpRule(policy: Policy, subject: HttpSubject): number | undefined {
  const evaluation = new Evaluation(subject);
  const index = policy.rules.findIndex((rule) => {
    if (subject.request === undefined && policy.action !== Action.DENY && needsHttp(rule)) return false;
    return evaluation.holds(rule);
  });
  return index < 0 ? undefined : index;
}

const HTTP_KEYS: ReadonlySet<Key> = new Set([
  Key.REQUEST_HEADER,
  Key.REQUEST_PRINCIPAL,
  Key.REQUEST_AUDIENCE,
  Key.REQUEST_PRESENTER,
  Key.REQUEST_CLAIM,
]);

function needsHttp({ from, to, when }: PolicyRule): boolean {
  const says = (...lists: readonly (readonly unknown[])[]) => lists.some((list) => list.length > 0);
  return (
    from.some((each) => says(each.requestPrincipals, each.notRequestPrincipals)) ||
    to.some((each) => says(each.hosts, each.notHosts, each.methods, each.notMethods, each.paths, each.notPaths)) ||
    when.some((each) => HTTP_KEYS.has(each.key) && says(each.values, each.notValues))
  );
}

class Evaluation {
  readonly #subject: HttpSubject;
  /** Empty where nobody has proved anything. */
  readonly #peer: {
    readonly principal: string;
    readonly domain: string;
    readonly namespace: string;
    readonly account: string;
  };

  constructor(subject: HttpSubject) {
    this.#subject = subject;
    const principal = subject.identity.startsWith("spiffe://") ? subject.identity.slice("spiffe://".length) : "";
    const [, domain = "", namespace = "", name = ""] = /^(.*?)\/ns\/(.*?)\/sa\/(.*)$/.exec(principal) ?? [];
    this.#peer = { principal, domain, namespace, account: namespace === "" ? "" : `${namespace}/${name}` };
  }

  holds({ from, to, when }: PolicyRule): boolean {
    return (
      (from.length === 0 || from.some((each) => this.#sourceHolds(each))) &&
      (to.length === 0 || to.some((each) => this.#operationHolds(each))) &&
      when.every((each) => this.#conditionHolds(each))
    );
  }

  #sourceHolds(from: PolicySource): boolean {
    const { principal, domain, namespace } = this.#peer;
    const { sourceIp, remoteIp } = this.#subject;
    return (
      this.#peerHolds(from.principals, from.notPrincipals, principal) &&
      this.#peerHolds(from.namespaces, from.notNamespaces, namespace) &&
      this.#peerHolds(from.trustDomains, from.notTrustDomains, domain) &&
      this.#accountHolds(from.serviceAccounts, from.notServiceAccounts) &&
      this.#requestPrincipalHolds(from.requestPrincipals, from.notRequestPrincipals) &&
      ipHolds(from.ipBlocks, from.notIpBlocks, sourceIp) &&
      ipHolds(from.remoteIpBlocks, from.notRemoteIpBlocks, remoteIp)
    );
  }

  #operationHolds(to: PolicyOperation): boolean {
    const { request, port } = this.#subject;
    if (!portHolds(to.ports, to.notPorts, port)) return false;
    // TCP: only DENY rules come here, and what they say of HTTP is left out of them.
    if (request === undefined) return true;
    return (
      textHolds(to.hosts, to.notHosts, request.authority) &&
      textHolds(to.methods, to.notMethods, request.method) &&
      textHolds(to.paths, to.notPaths, request.path.split("?", 1)[0] ?? "")
    );
  }

  #conditionHolds(when: PolicyCondition): boolean {
    const { key, values, notValues } = when;
    const { sourceIp, remoteIp, destinationIp, port, sni } = this.#subject;
    const { principal, domain, namespace } = this.#peer;
    switch (key) {
      case Key.SOURCE_NAMESPACE:
        return this.#peerHolds(values, notValues, namespace);
      case Key.SOURCE_PRINCIPAL:
        return this.#peerHolds(values, notValues, principal);
      case Key.SOURCE_TRUST_DOMAIN:
        return this.#peerHolds(values, notValues, domain);
      case Key.SOURCE_SERVICE_ACCOUNT:
        return this.#peerHolds(values, notValues, this.#peer.account);
      case Key.SOURCE_IP:
        return ipHolds(when.cidrs, when.notCidrs, sourceIp);
      case Key.REMOTE_IP:
        return ipHolds(when.cidrs, when.notCidrs, remoteIp);
      case Key.DESTINATION_IP:
        return ipHolds(when.cidrs, when.notCidrs, destinationIp);
      case Key.DESTINATION_PORT:
        return portHolds(when.ports, when.notPorts, port);
      case Key.CONNECTION_SNI:
        return textHolds(values, notValues, sni);
      default:
        return this.#httpConditionHolds(when);
    }
  }

  #httpConditionHolds({ key, header, claim, values, notValues }: PolicyCondition): boolean {
    const { request, token } = this.#subject;
    if (request === undefined) return true;
    switch (key) {
      case Key.REQUEST_HEADER:
        return headerHolds(header, values, notValues, request);
      case Key.REQUEST_PRINCIPAL:
        return this.#requestPrincipalHolds(values, notValues);
      case Key.REQUEST_PRESENTER:
        return token === undefined ? values.length === 0 : textHolds(values, notValues, token.presenter);
      case Key.REQUEST_AUDIENCE:
        return textsHold(values, notValues, token?.audiences ?? []);
      case Key.REQUEST_CLAIM:
        return textsHold(values, notValues, claimOf(token, claim));
      default:
        return false;
    }
  }

  #requestPrincipalHolds(values: readonly StringMatch[], notValues: readonly StringMatch[]): boolean {
    const { request, token } = this.#subject;
    if (request === undefined) return true;
    return token === undefined ? values.length === 0 : textHolds(values, notValues, token.principal);
  }

  /** The values of a peer who has proved nothing are absent, not empty. */
  #peerHolds(values: readonly StringMatch[], notValues: readonly StringMatch[], value: string): boolean {
    return this.#peer.principal === "" ? values.length === 0 : textHolds(values, notValues, value);
  }

  #accountHolds(values: readonly string[], notValues: readonly string[]): boolean {
    const { principal, account } = this.#peer;
    if (principal === "") return values.length === 0;
    return (values.length === 0 || values.includes(account)) && !notValues.includes(account);
  }
}

function claimOf(token: Token | undefined, path: readonly string[]): string[] {
  const [name] = path;
  if (token === undefined || path.length !== 1) return [];
  return token.claims.filter(([each]) => each === name).map(([, value]) => value);
}

/** Several lines of one name are one value, joined; and each line by itself too. */
function headerHolds(
  name: string,
  values: readonly StringMatch[],
  notValues: readonly StringMatch[],
  request: HttpRequest,
): boolean {
  if (name === "host" || name === ":authority") return textHolds(values, notValues, request.authority);
  if (name === ":method") return textHolds(values, notValues, request.method);
  if (name === ":path") return textHolds(values, notValues, request.path);
  const lines = request.headers.filter(([each]) => each === name).map(([, value]) => value);
  if (lines.length === 0) return values.length === 0;
  return textsHold(values, notValues, [lines.join(","), ...lines]);
}

function textHolds(values: readonly StringMatch[], notValues: readonly StringMatch[], text: string): boolean {
  return textsHold(values, notValues, [text]);
}

function textsHold(
  values: readonly StringMatch[],
  notValues: readonly StringMatch[],
  texts: readonly string[],
): boolean {
  const any = (matches: readonly StringMatch[]) =>
    texts.some((text) => matches.some((match) => matchesText(match, text)));
  return (values.length === 0 || any(values)) && !any(notValues);
}

/** Of policies "present" means a value that is not empty. */
function matchesText({ kind, ignoreCase }: StringMatch, text: string): boolean {
  const folded = (value: string) => (ignoreCase ? value.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : value);
  switch (kind.case) {
    case "exact":
      return folded(text) === folded(kind.value);
    case "prefix":
      return folded(text).startsWith(folded(kind.value));
    case "suffix":
      return folded(text).endsWith(folded(kind.value));
    case "regex":
      return RE2JS.compile(kind.value, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0).matches(text);
    case "present":
      return text !== "";
    case undefined:
      return false;
  }
}

function portHolds(ports: readonly number[], notPorts: readonly number[], port: number): boolean {
  return (ports.length === 0 || ports.includes(port)) && !notPorts.includes(port);
}

function ipHolds(ranges: readonly Cidr[], notRanges: readonly Cidr[], ip: string): boolean {
  const within = (range: Cidr) => cidrContains(range, ip);
  return (ranges.length === 0 || ranges.some(within)) && !notRanges.some(within);
}
