/** One rule of a VirtualService's `http`, checked, with the parts that do not depend on who executes it as messages. */
import type {
  Cors,
  DirectResponse,
  Fault,
  HeaderOps,
  PathMatch,
  Redirect,
  RetryPolicy,
  Rewrite,
  StringMatch,
} from "#proto/l7_pb.ts";

export interface HttpRuleFacts {
  readonly name: string;
  /** ORed; none: everything. */
  readonly matches: readonly HttpMatchFacts[];
  readonly action: HttpAction;
  readonly traits: RuleTraits;
}

export type HttpAction =
  | { readonly kind: "route"; readonly destinations: readonly RouteDestination[] }
  | { readonly kind: "redirect"; readonly redirect: Redirect }
  | { readonly kind: "direct"; readonly direct: DirectResponse }
  | { readonly kind: "delegate"; readonly namespace: string; readonly name: string };

/** What a delegate takes over from its root when it has none of its own. */
export interface RuleTraits {
  readonly rewrite?: Rewrite;
  readonly timeoutMs?: number;
  /** Null: never. Absent: the mesh's default. */
  readonly retry?: RetryPolicy | null;
  /** Whether the user said to which endpoints a retry goes. */
  readonly retryIgnorePreviousHosts?: boolean;
  readonly fault?: Fault;
  readonly mirrors?: readonly MirrorFacts[];
  readonly cors?: Cors;
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
}

export interface HostPort {
  /** Full and in lower case. */
  readonly host: string;
  readonly subset: string;
  /** Absent: the service's only one, else that of the listener. */
  readonly port?: number;
}

export interface RouteDestination extends HostPort {
  readonly weight: number;
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
  /** A Host header that is set for this destination alone. */
  readonly authority?: string;
}

export interface MirrorFacts extends HostPort {
  readonly sharePpm: number;
}

export type Matches = Readonly<Record<string, StringMatch>>;

/** Fields are ANDed. */
export interface HttpMatchFacts {
  readonly name: string;
  readonly path?: PathMatch;
  readonly scheme?: StringMatch;
  readonly method?: StringMatch;
  readonly authority?: StringMatch;
  /** Names in lower case. */
  readonly headers: Matches;
  readonly withoutHeaders: Matches;
  readonly query: Matches;
  readonly claims: readonly { readonly path: readonly string[]; readonly value: StringMatch }[];
  readonly port?: number;
  readonly sourceLabels: Readonly<Record<string, string>>;
  readonly sourceNamespace?: string;
  /** Empty: those of the VirtualService. */
  readonly gateways: readonly string[];
}
