/** The rules of a VirtualService as a route configuration of Envoy, by what Istio's and Envoy's documentation say. */
import {
  type Destination,
  GRPC_STATUS,
  type HeaderOperations,
  type Match,
  type Rule,
  type StringMatch,
} from "./rules.ts";

const TYPE = "type.googleapis.com/envoy";
const DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/** As the clusters of the test are called. */
export function clusterOf({ host, subset, port }: Destination["destination"]): string {
  return [host, subset ?? "", port?.number ?? ""].join("/");
}

export function routeConfig(rules: readonly Rule[]): object {
  const routes = rules.flatMap((rule) => (rule.match ?? [{}]).map((match) => route(rule, match)));
  return {
    virtual_hosts: [{ name: "all", domains: ["*"], routes, include_request_attempt_count: true }],
    validate_clusters: false,
  };
}

function route(rule: Rule, match: Match): object {
  const own = [rule.headers, ...(rule.route?.length === 1 ? [rule.route[0]?.headers] : [])];
  return {
    name: rule.name,
    match: matcher(match),
    ...action(rule),
    ...edits(
      "request",
      own.map((each) => each?.request),
    ),
    ...edits(
      "response",
      own.map((each) => each?.response),
    ),
    typed_per_filter_config: {
      ...(rule.fault === undefined ? {} : { "envoy.filters.http.fault": fault(rule.fault) }),
      ...(rule.corsPolicy === undefined ? {} : { "envoy.filters.http.cors": cors(rule.corsPolicy) }),
    },
  };
}

function matcher(match: Match): object {
  const { uri = { prefix: "/" }, ignoreUriCase = false } = match;
  const path =
    "exact" in uri
      ? { path: uri.exact }
      : "prefix" in uri
        ? { prefix: uri.prefix }
        : { safe_regex: { regex: uri.regex } };
  const headers = [
    ...Object.entries(match.headers ?? {}).map(([name, value]) => headerMatcher(name, value)),
    ...Object.entries(match.withoutHeaders ?? {}).map(([name, value]) => ({
      ...headerMatcher(name, value),
      invert_match: true,
      ...(Object.keys(value).length === 0 ? {} : { treat_missing_header_as_empty: true }),
    })),
    ...(match.method === undefined ? [] : [headerMatcher(":method", match.method)]),
    ...(match.authority === undefined ? [] : [headerMatcher(":authority", match.authority)]),
    ...(match.scheme === undefined ? [] : [headerMatcher(":scheme", match.scheme)]),
  ];
  const query = Object.entries(match.queryParams ?? {}).map(([name, value]) => ({ name, ...valueMatcher(value) }));
  return { ...path, headers, query_parameters: query, ...(ignoreUriCase ? { case_sensitive: false } : {}) };
}

function headerMatcher(name: string, value: StringMatch): object {
  return { name, ...valueMatcher(value) };
}

function valueMatcher(value: StringMatch): object {
  return Object.keys(value).length === 0 ? { present_match: true } : { string_match: stringMatcher(value) };
}

function stringMatcher(value: StringMatch): object {
  return "regex" in value ? { safe_regex: { regex: value.regex } } : value;
}

function action(rule: Rule): object {
  if (rule.redirect !== undefined) return { redirect: redirect(rule.redirect) };
  if (rule.directResponse !== undefined) {
    const { status, body } = rule.directResponse;
    return { direct_response: { status, ...(body === undefined ? {} : { body: { inline_string: body.string } }) } };
  }
  const { rewrite, timeout = "0s", retries, mirrors = [] } = rule;
  return {
    route: {
      ...target(rule.route ?? []),
      timeout,
      max_grpc_timeout: timeout,
      ...(rewrite?.uri === undefined ? {} : { prefix_rewrite: rewrite.uri }),
      ...(rewrite?.authority === undefined ? {} : { host_rewrite_literal: rewrite.authority }),
      ...(rewrite?.uriRegexRewrite === undefined
        ? {}
        : {
            regex_rewrite: {
              pattern: { regex: rewrite.uriRegexRewrite.match },
              substitution: rewrite.uriRegexRewrite.rewrite,
            },
          }),
      ...retryPolicy(retries),
      request_mirror_policies: mirrors.map(({ destination }) => ({
        cluster: clusterOf(destination),
        disable_shadow_host_suffix_append: true,
      })),
    },
  };
}

function target(destinations: readonly Destination[]): object {
  const [only, ...others] = destinations;
  if (only !== undefined && others.length === 0) return { cluster: clusterOf(only.destination) };
  const clusters = destinations
    .filter(({ weight }) => weight !== 0)
    .map(({ destination, weight, headers }) => ({
      name: clusterOf(destination),
      weight,
      ...edits("request", [headers?.request]),
      ...edits("response", [headers?.response]),
    }));
  return { weighted_clusters: { clusters } };
}

function edits(side: "request" | "response", operations: readonly (HeaderOperations | undefined)[]): object {
  const values = (of: Readonly<Record<string, string>> = {}, append_action: string) =>
    Object.entries(of).map(([key, value]) => ({ header: { key, value }, append_action }));
  return {
    [`${side}_headers_to_add`]: operations.flatMap((each) => [
      ...values(each?.set, "OVERWRITE_IF_EXISTS_OR_ADD"),
      ...values(each?.add, "APPEND_IF_EXISTS_OR_ADD"),
    ]),
    [`${side}_headers_to_remove`]: operations.flatMap((each) => each?.remove ?? []),
  };
}

function retryPolicy(retries: Rule["retries"]): object {
  if (retries?.attempts === 0) return {};
  const tokens = (retries?.retryOn ?? DEFAULT_RETRY_ON).split(",");
  const codes = tokens.map(Number).filter((code) => !Number.isNaN(code));
  const named = tokens.filter((token) => Number.isNaN(Number(token)));
  return {
    retry_policy: {
      retry_on: [...named, ...(codes.length === 0 ? [] : ["retriable-status-codes"])].join(","),
      retriable_status_codes: codes,
      num_retries: retries?.attempts ?? 2,
      ...(retries?.perTryTimeout === undefined ? {} : { per_try_timeout: retries.perTryTimeout }),
      retry_host_predicate: [
        {
          name: "envoy.retry_host_predicates.previous_hosts",
          typed_config: { "@type": `${TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate` },
        },
      ],
      host_selection_retry_max_attempts: 5,
    },
  };
}

const REDIRECT_CODES: Readonly<Record<number, string>> = {
  301: "MOVED_PERMANENTLY",
  302: "FOUND",
  303: "SEE_OTHER",
  307: "TEMPORARY_REDIRECT",
  308: "PERMANENT_REDIRECT",
};

function redirect(redirect: NonNullable<Rule["redirect"]>): object {
  const { uri, prefixRewrite, authority, scheme, port, redirectCode } = redirect;
  return {
    ...(uri === undefined ? {} : { path_redirect: uri }),
    ...(prefixRewrite === undefined ? {} : { prefix_rewrite: prefixRewrite }),
    ...(authority === undefined ? {} : { host_redirect: authority }),
    ...(scheme === undefined ? {} : { scheme_redirect: scheme }),
    ...(port === undefined ? {} : { port_redirect: port }),
    response_code: REDIRECT_CODES[redirectCode ?? 301],
  };
}

function fault({ delay, abort }: NonNullable<Rule["fault"]>): object {
  const status = (of: NonNullable<typeof abort>) =>
    "grpcStatus" in of ? { grpc_status: GRPC_STATUS[of.grpcStatus] } : { http_status: of.httpStatus };
  const share = ({ value }: { readonly value: number }) => ({ numerator: value, denominator: "HUNDRED" });
  return {
    "@type": `${TYPE}.extensions.filters.http.fault.v3.HTTPFault`,
    ...(delay === undefined ? {} : { delay: { fixed_delay: delay.fixedDelay, percentage: share(delay.percentage) } }),
    ...(abort === undefined ? {} : { abort: { ...status(abort), percentage: share(abort.percentage) } }),
  };
}

function cors(policy: NonNullable<Rule["corsPolicy"]>): object {
  const { allowOrigins, allowMethods, allowHeaders, exposeHeaders, maxAge, allowCredentials } = policy;
  return {
    "@type": `${TYPE}.extensions.filters.http.cors.v3.CorsPolicy`,
    allow_origin_string_match: allowOrigins.map(stringMatcher),
    ...(allowMethods === undefined ? {} : { allow_methods: allowMethods.join(",") }),
    ...(allowHeaders === undefined ? {} : { allow_headers: allowHeaders.join(",") }),
    ...(exposeHeaders === undefined ? {} : { expose_headers: exposeHeaders.join(",") }),
    ...(maxAge === undefined ? {} : { max_age: String(Number.parseInt(maxAge, 10) * 3600) }),
    ...(allowCredentials === undefined ? {} : { allow_credentials: allowCredentials }),
    forward_not_matching_preflights: policy.unmatchedPreflights !== "IGNORE",
    filter_enabled: { default_value: { numerator: 100, denominator: "HUNDRED" } },
  };
}
