import { describe, expect, it } from "vitest";
import { describeProblems, type Problem } from "../../model/fields.ts";
import { VirtualServiceReader } from "./virtual-service.ts";

const ROUTE = [{ destination: { host: "a" } }];

function problemsOf(spec: object): string {
  const problems: Problem[] = [];
  const facts = new VirtualServiceReader("cluster.local").read(
    { metadata: { namespace: "n", name: "v" }, spec },
    problems,
  );
  expect(facts === undefined).toBe(problems.length > 0);
  return describeProblems(problems);
}

const http = (rule: object) => problemsOf({ hosts: ["a"], http: [{ route: ROUTE, ...rule }] });

describe("a VirtualService is refused", () => {
  const refused: [string, object, string][] = [
    ["a host * of the mesh", { hosts: ["*"], http: [{ route: ROUTE }] }, "spec.hosts: * needs a gateway"],
    ["two names of one host", { hosts: ["a", "a.n.svc.cluster.local"], http: [{ route: ROUTE }] }, "spec.hosts[1]"],
    ["no rules", { hosts: ["a"] }, "spec: needs http, tls or tcp"],
    ["exportTo ~", { hosts: ["a"], exportTo: ["~"], http: [{ route: ROUTE }] }, "spec.exportTo[0]"],
    [
      "exportTo . beside its namespace",
      { hosts: ["a"], exportTo: [".", "n"], http: [{ route: ROUTE }] },
      "is there twice",
    ],
    ["a delegate that delegates", { http: [{ delegate: { name: "x" } }] }, "a delegate cannot delegate"],
    ["a delegate with tcp", { http: [{ route: ROUTE }], tcp: [{ route: ROUTE }] }, "can only hold http"],
    [
      "an unknown field",
      { hosts: ["a"], http: [{ route: ROUTE, timeOut: "1s" }] },
      "spec.http[0].timeOut: unknown field",
    ],
    [
      "an SNI that is none of its hosts",
      { hosts: ["a.b"], tls: [{ match: [{ sniHosts: ["c.d"] }], route: ROUTE }] },
      "sniHosts[0]",
    ],
  ];
  for (const [what, spec, reason] of refused) it(`with ${what}`, () => expect(problemsOf(spec)).toContain(reason));

  const rules: [string, object, string][] = [
    ["a timeout of 0s", { timeout: "0s" }, "spec.http[0].timeout: must be at least 1ms"],
    ["attempts 0 beside other fields", { retries: { attempts: 0, retryOn: "5xx" } }, "retries.attempts"],
    ["an unknown reason to retry", { retries: { attempts: 1, retryOn: "5xx,foo" } }, '"foo" is no reason'],
    [
      "weights that are all 0",
      {
        route: [
          { ...ROUTE[0], weight: 0 },
          { ...ROUTE[0], weight: 0 },
        ],
      },
      "must not all be 0",
    ],
    ["two actions", { redirect: { uri: "/" } }, "needs one of"],
    ["a broken expression", { match: [{ uri: { regex: "(" } }] }, "match[0].uri.regex"],
    ["an expression of 1,025 bytes", { match: [{ uri: { regex: "a".repeat(1025) } }] }, "longer than 1024 bytes"],
    ["an empty prefix of a header", { match: [{ headers: { a: { prefix: "" } } }] }, "must not be empty"],
    ["a null header", { match: [{ headers: { a: null } }] }, "must be an object"],
    ["both mirror and mirrors", { mirror: { host: "b" }, mirrors: [{ destination: { host: "b" } }] }, "mirrors"],
    [
      "a percentage above 100",
      { fault: { abort: { httpStatus: 500, percentage: { value: 101 } } } },
      "percentage.value",
    ],
    [
      "a percentage too small to count",
      { fault: { delay: { fixedDelay: "1s", percentage: { value: 0.00001 } } } },
      "0.0001",
    ],
    ["a grpcStatus in lower case", { fault: { abort: { grpcStatus: "unavailable" } } }, "grpcStatus"],
    ["Host removed", { headers: { request: { remove: ["Host"] } } }, "remove[0]"],
    ["another pseudo-header set", { headers: { request: { set: { ":path": "/" } } } }, "is no name of a header"],
    ["a preflight age of half a second", { corsPolicy: { maxAge: "500ms" } }, "whole seconds"],
    [
      "uri beside uriRegexRewrite",
      { rewrite: { uri: "/", uriRegexRewrite: { match: "a", rewrite: "b" } } },
      "beside uri",
    ],
    ["host *", { route: [{ destination: { host: "*" } }] }, "destination.host"],
  ];
  for (const [what, rule, reason] of rules) it(`with ${what}`, () => expect(http(rule)).toContain(reason));

  it("with a redirect that the engine cannot make", () => {
    const redirect = (fields: object) => problemsOf({ hosts: ["a"], http: [{ redirect: fields }] });
    expect(redirect({ uri: "/", redirectCode: 304 })).toContain("redirectCode");
    expect(redirect({})).toContain("needs uri");
    expect(redirect({ prefixRewrite: "/" })).toBe("");
  });
});

describe("a VirtualService is taken", () => {
  it("with attempts 0 alone, and with odd statuses of faults", () => {
    expect(http({ retries: { attempts: 0 } })).toBe("");
    expect(http({ fault: { abort: { httpStatus: 555, percentage: { value: 100 } } } })).toBe("");
  });

  it("and rules that did not change are the same as before", () => {
    const reader = new VirtualServiceReader("cluster.local");
    const read = (timeout: string) =>
      reader.read(
        {
          metadata: { namespace: "n", name: "v" },
          spec: { hosts: ["a"], http: [{ route: ROUTE }, { route: ROUTE, timeout }] },
        },
        [],
      );
    const [before, after] = [read("1s"), read("2s")];
    expect(after?.http[0]).toBe(before?.http[0]);
    expect(after?.http[1]).not.toBe(before?.http[1]);
  });

  it("and a rule that was right is looked at again once the object is a delegate", () => {
    const reader = new VirtualServiceReader("cluster.local");
    const http = [{ delegate: { name: "x" } }];
    const read = (spec: object, problems: Problem[]) =>
      reader.read({ metadata: { namespace: "n", name: "v" }, spec }, problems);
    expect(read({ hosts: ["a"], http }, [])).toBeDefined();
    const problems: Problem[] = [];
    expect(read({ http }, problems)).toBeUndefined();
    expect(describeProblems(problems)).toContain("a delegate cannot delegate");
  });
});
