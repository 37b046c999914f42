import { describe, expect, it } from "vitest";
import { describeProblems, type Problem } from "../../model/fields.ts";
import { destinationRuleFacts } from "./destination-rule.ts";

function problemsOf(spec: object): string {
  const problems: Problem[] = [];
  const object = { metadata: { namespace: "n", name: "d" }, spec };
  const facts = destinationRuleFacts(object, "cluster.local", problems);
  expect(facts === undefined).toBe(problems.length > 0);
  return describeProblems(problems);
}

const policy = (trafficPolicy: object) => problemsOf({ host: "a", trafficPolicy });
const balancer = (loadBalancer: object) => policy({ loadBalancer });
const hash = (consistentHash: object) => balancer({ consistentHash });
const locality = (localityLbSetting: object) => balancer({ localityLbSetting });
const outlier = (outlierDetection: object) => policy({ outlierDetection });
const tls = (fields: object) => policy({ tls: fields });

describe("a DestinationRule is refused", () => {
  const refused: [string, string, string][] = [
    ["no host", problemsOf({}), "spec.host: is required"],
    ["host *.", problemsOf({ host: "*." }), "spec.host: "],
    ["an unknown field", problemsOf({ host: "a", subset: [] }), "spec.subset: unknown field"],
    ["a subset without a name", problemsOf({ host: "a", subsets: [{}] }), "subsets[0].name"],
    ["two subsets of one name", problemsOf({ host: "a", subsets: [{ name: "v" }, { name: "v" }] }), "is there twice"],
    [
      "exportTo * beside a selector",
      problemsOf({ host: "a", workloadSelector: { matchLabels: { a: "b" } }, exportTo: ["*"] }),
      "must be . beside workloadSelector",
    ],
    ["an empty policy", policy({}), "must not be empty"],
    ["a tunnel", policy({ tunnel: { targetHost: "b", targetPort: 1 } }), "trafficPolicy.tunnel: is not supported"],
    ["a port twice", policy({ portLevelSettings: [{ port: { number: 1 } }, { port: { number: 1 } }] }), "twice"],
    ["settings of no port", policy({ portLevelSettings: [{ tls: { mode: "DISABLE" } }] }), "port.number: is required"],
    ["an unknown balancer", balancer({ simple: "BEST" }), "loadBalancer.simple"],
    ["two balancers", balancer({ simple: "RANDOM", consistentHash: { useSourceIp: true } }), "beside simple"],
    ["nothing to hash", hash({}), "needs one of httpHeaderName"],
    ["two things to hash", hash({ httpHeaderName: "a", useSourceIp: true }), "needs one of httpHeaderName"],
    ["a cookie without a name", hash({ httpCookie: { ttl: "1s" } }), "httpCookie.name: is required"],
    ["a table that is no prime", hash({ useSourceIp: true, maglev: { tableSize: 100 } }), "must be a prime"],
    ["a table of 0", hash({ useSourceIp: true, maglev: { tableSize: 0 } }), "maglev.tableSize"],
    ["a table too large", hash({ useSourceIp: true, maglev: { tableSize: 5_000_011 } }), "maglev.tableSize"],
    ["ring and table", hash({ useSourceIp: true, maglev: {}, ringHash: {} }), "beside ringHash"],
    ["a warm-up of no time", balancer({ simple: "RANDOM", warmup: {} }), "warmup.duration: is required"],
    ["a warm-up of aggression 0", balancer({ warmup: { duration: "1s", aggression: 0 } }), "must be above 0"],
    [
      "shares that are not 100",
      locality({ distribute: [{ from: "a/*", to: { "b/*": 50, "c/*": 49 } }] }),
      "must add up to 100",
    ],
    ["a share of 0", locality({ distribute: [{ from: "a/*", to: { "b/*": 100, "c/*": 0 } }] }), "c/*"],
    ["failover to a zone", locality({ failover: [{ from: "a", to: "b/c" }] }), '"b/c" is no region'],
    ["failover to itself", locality({ failover: [{ from: "a", to: "a" }] }), "must be another region"],
    [
      "distribute and failover",
      locality({ distribute: [{ from: "a", to: { b: 100 } }], failover: [{ from: "a", to: "b" }] }),
      "beside failover",
    ],
    [
      "zones beside localities",
      balancer({ zoneAwareLbSetting: {}, localityLbSetting: {} }),
      "zoneAwareLbSetting: must not be set beside localityLbSetting",
    ],
    ["a pool of nothing", policy({ connectionPool: {} }), "needs tcp or http"],
    ["fewer connections than none", policy({ connectionPool: { tcp: { maxConnections: -1 } } }), "maxConnections"],
    ["a time limit of 0s", policy({ connectionPool: { tcp: { connectTimeout: "0s" } } }), "at least 1ms"],
    ["a time that is none", policy({ connectionPool: { http: { idleTimeout: "soon" } } }), "no duration"],
    [
      "an upgrade of what the client speaks",
      policy({ connectionPool: { http: { h2UpgradePolicy: "UPGRADE", useClientProtocol: true } } }),
      "must not be set beside UPGRADE",
    ],
    ["more than all ejected", outlier({ maxEjectionPercent: 101 }), "maxEjectionPercent"],
    ["an interval of 0s", outlier({ interval: "0s" }), "outlierDetection.interval: must be at least 1ms"],
    ["codes that are none", outlier({ outlierDetectionHttpErrorCodes: [42] }), "codes from 100 to 599"],
    ["an unknown mode of TLS", tls({ mode: "STRICT" }), "tls.mode"],
    ["the mesh's TLS with a name", tls({ mode: "ISTIO_MUTUAL", sni: "a" }), "ISTIO_MUTUAL takes no sni"],
    ["MUTUAL without a certificate", tls({ mode: "MUTUAL" }), "MUTUAL needs credentialName"],
    [
      "names of servers that nobody checks",
      tls({ mode: "SIMPLE", insecureSkipVerify: true, subjectAltNames: ["a"] }),
      "insecureSkipVerify",
    ],
    ["version 1 of PROXY", policy({ proxyProtocol: { version: "V1" } }), "only V2 is supported"],
    ["a budget above everything", policy({ retryBudget: { percent: 101 } }), "retryBudget.percent"],
  ];
  it.each(refused)("with %s", (_, problems, reason) => expect(problems).toContain(reason));

  it("in a subset and in the settings of a port as well, by name of the field", () => {
    const bad = { connectionPool: {} };
    expect(problemsOf({ host: "a", subsets: [{ name: "v", trafficPolicy: bad }] })).toContain(
      "spec.subsets[0].trafficPolicy.connectionPool",
    );
    expect(policy({ portLevelSettings: [{ port: { number: 1 }, ...bad }] })).toContain(
      "spec.trafficPolicy.portLevelSettings[0].connectionPool",
    );
  });
});

describe("a DestinationRule is taken", () => {
  it("with numbers that are 0, which is the default, and with fields that have been called otherwise", () => {
    const zeros = { tcp: { maxConnections: 0 }, http: { http1MaxPendingRequests: 0, maxRequestsPerConnection: 0 } };
    expect(policy({ connectionPool: zeros })).toBe("");
    expect(outlier({ consecutiveErrors: 3, consecutive5xxErrors: 0 })).toBe("");
    expect(hash({ httpHeaderName: "a", minimumRingSize: 10 })).toBe("");
    expect(balancer({ simple: "LEAST_CONN", warmupDurationSecs: "10s" })).toBe("");
    // Waypoints go by localities then.
    expect(balancer({ zoneAwareLbSetting: { zoneAwareConfig: { minClusterSize: 3 } } })).toBe("");
  });
});
