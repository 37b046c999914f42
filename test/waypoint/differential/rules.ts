/** Rules of VirtualServices, drawn at random from little so that their matches meet. */
import type { Random } from "./random.ts";

export type StringMatch = { exact: string } | { prefix: string } | { regex: string } | Record<string, never>;

export interface Match {
  readonly uri?: StringMatch;
  readonly ignoreUriCase?: boolean;
  readonly method?: StringMatch;
  readonly authority?: StringMatch;
  readonly scheme?: StringMatch;
  readonly headers?: Readonly<Record<string, StringMatch>>;
  readonly withoutHeaders?: Readonly<Record<string, StringMatch>>;
  readonly queryParams?: Readonly<Record<string, StringMatch>>;
}

export interface HeaderOperations {
  readonly set?: Readonly<Record<string, string>>;
  readonly add?: Readonly<Record<string, string>>;
  readonly remove?: readonly string[];
}

export interface Destination {
  readonly destination: {
    readonly host: string;
    readonly subset?: string;
    readonly port?: { readonly number: number };
  };
  readonly weight?: number;
  readonly headers?: { readonly request?: HeaderOperations; readonly response?: HeaderOperations };
}

export interface Rule {
  readonly name: string;
  readonly match?: readonly Match[];
  readonly route?: readonly Destination[];
  readonly redirect?: {
    readonly uri?: string;
    readonly prefixRewrite?: string;
    readonly authority?: string;
    readonly scheme?: string;
    readonly port?: number;
    readonly redirectCode?: number;
  };
  readonly directResponse?: { readonly status: number; readonly body?: { readonly string: string } };
  readonly rewrite?: {
    readonly uri?: string;
    readonly authority?: string;
    readonly uriRegexRewrite?: { readonly match: string; readonly rewrite: string };
  };
  readonly timeout?: string;
  readonly retries?: { readonly attempts: number; readonly retryOn?: string; readonly perTryTimeout?: string };
  readonly fault?: {
    readonly delay?: { readonly fixedDelay: string; readonly percentage: { readonly value: number } };
    readonly abort?: ({ readonly httpStatus: number } | { readonly grpcStatus: keyof typeof GRPC_STATUS }) & {
      readonly percentage: { readonly value: number };
    };
  };
  readonly mirrors?: readonly { readonly destination: Destination["destination"] }[];
  readonly corsPolicy?: {
    readonly allowOrigins: readonly StringMatch[];
    readonly allowMethods?: readonly string[];
    readonly allowHeaders?: readonly string[];
    readonly exposeHeaders?: readonly string[];
    readonly maxAge?: string;
    readonly allowCredentials?: boolean;
    readonly unmatchedPreflights?: string;
  };
  readonly headers?: { readonly request?: HeaderOperations; readonly response?: HeaderOperations };
}

/** Those of gRPC that rules abort with. */
export const GRPC_STATUS = { PERMISSION_DENIED: 7, UNAVAILABLE: 14 } as const;

/** The name of the rule that answered, if it forwarded. */
export const RULE_HEADER = "x-rule";

const PATHS = ["/a", "/a/b", "/api", "/api/v1", "/A/", "/"];
const REGEXES = ["/a.*", "/api/v\\d+/?", ".*/b", "/(a|b)/[^/]*"];

/** The last one takes what is left, sometimes. */
export function rulesOf(random: Random, count: number): Rule[] {
  const rules = Array.from({ length: count }, (_, index) => rule(random, `r${index}`));
  return random.chance(0.75) ? [...rules, forwarding(random, "last", true)] : rules;
}

function rule(random: Random, name: string): Rule {
  const match = Array.from({ length: 1 + random.below(2) }, () => matchOf(random));
  const prefixed = match.every(({ uri }) => uri !== undefined && "prefix" in uri);
  if (random.chance(0.1)) return { name, match, redirect: redirect(random, prefixed) };
  if (random.chance(0.08)) {
    const body = random.chance(0.7) ? { body: { string: `said by ${name}\n` } } : {};
    return { name, match, directResponse: { status: random.pick([200, 299, 404, 503]), ...body } };
  }
  return { ...forwarding(random, name, false), match };
}

function matchOf(random: Random): Match {
  return {
    ...(random.chance(0.8) ? { uri: uriOf(random) } : {}),
    ...(random.chance(0.15) ? { method: random.pick([{ exact: "GET" }, { exact: "POST" }, { regex: "P.*" }]) } : {}),
    ...(random.chance(0.15)
      ? { authority: random.pick([{ exact: "echo" }, { prefix: "echo" }, { exact: "echo:80" }, { regex: ".*:\\d+" }]) }
      : {}),
    ...(random.chance(0.05) ? { scheme: { exact: random.pick(["http", "https"]) } } : {}),
    ...(random.chance(0.3) ? { headers: headersOf(random) } : {}),
    ...(random.chance(0.15) ? { withoutHeaders: { "x-w": valueMatchOf(random) } } : {}),
    ...(random.chance(0.15) ? { queryParams: { [random.pick(["a", "b"])]: valueMatchOf(random) } } : {}),
  };
}

function uriOf(random: Random): StringMatch {
  if (random.chance(0.15)) return { regex: random.pick(REGEXES) };
  const path = random.pick(PATHS);
  return random.chance(0.65) ? { prefix: path } : { exact: path };
}

function headersOf(random: Random): Readonly<Record<string, StringMatch>> {
  if (random.chance(0.8)) return { "x-v": valueMatchOf(random) };
  // It is the authority, in HTTP/1 and HTTP/2 alike.
  return { host: random.pick<StringMatch>([{ exact: "echo" }, { exact: "ECHO" }, { regex: ".*:80" }, {}]) };
}

function valueMatchOf(random: Random): StringMatch {
  return random.pick([{ exact: "1" }, { exact: "one,two" }, { prefix: "o" }, { regex: "[a-z]+" }, {}]);
}

const operations = (random: Random, name: string): HeaderOperations => ({
  ...(random.chance(0.5) ? { set: { "x-v": `set by ${name}`, "x-set": "a%%b" } } : {}),
  ...(random.chance(0.5) ? { add: { "x-added": name, "x-path": "%REQ(:PATH)%" } } : {}),
  ...(random.chance(0.5) ? { remove: ["x-w", "x-gone"] } : {}),
});

function forwarding(random: Random, name: string, plain: boolean): Rule {
  const some = (share: number) => !plain && random.chance(share);
  const response = some(0.3) ? operations(random, name) : {};
  return {
    name,
    route: destinations(random, name, plain),
    headers: {
      ...(some(0.3) ? { request: operations(random, name) } : {}),
      response: { ...response, set: { ...response.set, [RULE_HEADER]: name } },
    },
    ...(some(0.3) ? { rewrite: rewrite(random) } : {}),
    ...(some(0.15) ? { timeout: "2s" } : {}),
    ...(some(0.3) ? { retries: retries(random) } : {}),
    ...(some(0.15) ? { fault: fault(random) } : {}),
    ...(some(0.15) ? { mirrors: [{ destination: { host: "shadow", port: { number: 80 } } }] } : {}),
    ...(some(0.25) ? { corsPolicy: cors(random) } : {}),
  };
}

function destinations(random: Random, name: string, plain: boolean): Destination[] {
  const to = (subset: string, number = 80) => ({ destination: { host: "echo", subset, port: { number } } });
  if (plain || random.chance(0.5)) return [to(random.pick(["v1", "v2"]), random.pick([80, 80, 81]))];
  if (random.chance(0.5)) {
    const headers = random.chance(0.5) ? { headers: { request: operations(random, `${name}d`) } } : {};
    return [
      { ...to("v1"), weight: 0 },
      { ...to("v2"), weight: 100, ...headers },
    ];
  }
  return [random.pick([to("none"), to("nosuch"), { destination: { host: "nowhere" } }, to("v1"), to("v2", 81)])];
}

function rewrite(random: Random): NonNullable<Rule["rewrite"]> {
  return random.pick([
    { uri: "/" },
    { uri: "/new" },
    { uri: "/new/" },
    { authority: "other.example" },
    { uri: "/x", authority: "other.example:8080" },
    { uriRegexRewrite: { match: "/(a)", rewrite: "/\\1\\1" } },
    { uriRegexRewrite: { match: "^/api/(v\\d+)", rewrite: "/\\1/api" } },
  ]);
}

function retries(random: Random): NonNullable<Rule["retries"]> {
  const attempts = random.below(4);
  if (attempts === 0) return { attempts };
  return {
    attempts,
    ...(random.chance(0.8)
      ? {
          retryOn: random.pick([
            "5xx",
            "gateway-error",
            "503",
            "reset",
            "retriable-4xx",
            "connect-failure,unavailable",
          ]),
        }
      : {}),
    ...(random.chance(0.2) ? { perTryTimeout: "1.5s" } : {}),
  };
}

function fault(random: Random): NonNullable<Rule["fault"]> {
  const percentage = { value: random.pick([0, 100]) };
  const delay = { fixedDelay: "0.02s", percentage: { value: 100 } };
  const abort = random.pick([
    { httpStatus: 555 },
    { httpStatus: 404 },
    { grpcStatus: "UNAVAILABLE" as const },
    { grpcStatus: "PERMISSION_DENIED" as const },
  ]);
  return {
    ...(random.chance(0.4) ? { delay } : {}),
    abort: { ...abort, percentage },
  };
}

function cors(random: Random): NonNullable<Rule["corsPolicy"]> {
  return {
    allowOrigins: random.some<StringMatch>(
      [{ exact: "https://a.example" }, { prefix: "https://b." }, { regex: "https://[cd]\\.example" }, { exact: "*" }],
      3,
    ),
    ...(random.chance(0.7) ? { allowMethods: ["GET", "POST"] } : {}),
    ...(random.chance(0.7) ? { allowHeaders: ["x-a", "x-b"] } : {}),
    ...(random.chance(0.5) ? { exposeHeaders: ["x-e"] } : {}),
    ...(random.chance(0.5) ? { maxAge: "24h" } : {}),
    ...(random.chance(0.5) ? { allowCredentials: random.chance(0.5) } : {}),
    ...(random.chance(0.4) ? { unmatchedPreflights: random.pick(["FORWARD", "IGNORE"]) } : {}),
  };
}

function redirect(random: Random, prefixed: boolean): NonNullable<Rule["redirect"]> {
  const paths = [{}, { uri: "/there" }, { uri: "/there?x=1" }, ...(prefixed ? [{ prefixRewrite: "/elsewhere" }] : [])];
  const hosts = [{}, { authority: "b.example" }, { authority: "b.example:444" }, { port: 8443 }];
  const schemes = [{}, { scheme: "https" }];
  return {
    redirectCode: random.pick([301, 302, 303, 307, 308]),
    scheme: "http",
    ...random.pick(paths),
    ...random.pick(hosts),
    ...random.pick(schemes),
  };
}
