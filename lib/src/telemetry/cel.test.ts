import { describe, expect, it } from "vitest";
import type { AttributeSource, AttributeValue } from "./attributes.ts";
import { CelError, compileCel, compileFilter, needsRequests } from "./cel.ts";

function source(values: Record<string, AttributeValue>): AttributeSource {
  return { attribute: (name) => values[name] };
}

describe("compileCel", () => {
  it.each<[string, Record<string, AttributeValue>, unknown]>([
    ["response.code >= 400", { "response.code": 404n }, true],
    ["response.code >= 400", { "response.code": 200n }, false],
    [
      'request.url_path.startsWith("/api") && request.method == "GET"',
      { "request.url_path": "/api/x", "request.method": "GET" },
      true,
    ],
    ['"x-a" in request.headers', { "request.headers": new Map([["x-a", "1"]]) }, true],
    ['request.headers["x-a"] == "1"', { "request.headers": new Map([["x-a", "1"]]) }, true],
    ["connection.mtls", { "connection.mtls": true }, true],
    ['has(request.referer) ? request.referer : "none"', {}, "none"],
    ["string(destination.port)", { "destination.port": 80n }, "80"],
    ["'fixed'", {}, "fixed"],
    ['request.time > timestamp("2020-01-01T00:00:00Z")', { "request.time": new Date(1_700_000_000_000) }, true],
  ])("%s of %o is %s", (text, values, result) => {
    expect(compileCel(text).evaluate(source(values))).toBe(result);
  });

  it("has no value where an attribute is missing", () => {
    expect(compileCel("response.grpc_status == 5").evaluate(source({}))).toBeUndefined();
    expect(compileCel('request.headers["a"]').evaluate(source({ "request.headers": new Map() }))).toBeUndefined();
  });

  it.each([
    "response.nope == 1",
    "nobody.knows",
    "response.code +",
    "response.code == 'a' + 1",
    "",
    "1 +".repeat(3000),
  ])("refuses %s", (text) => {
    expect(() => compileCel(text)).toThrow(CelError);
  });

  it("tells what it reads, with headers by name", () => {
    const expression = compileCel('request.headers["X-A"] + response.headers["etag"] + source.workload');
    expect(expression.attributes).toEqual(["request.headers", "response.headers", "source.workload"]);
    expect(expression.headers).toEqual({ request: ["x-a"], response: ["etag"] });
  });

  it("knows which tags can be had from series", () => {
    expect(needsRequests(compileCel("source.workload + destination.service"))).toBe(false);
    expect(needsRequests(compileCel("'a constant'"))).toBe(false);
    expect(needsRequests(compileCel("request.host"))).toBe(true);
    expect(needsRequests(compileCel("source.address"))).toBe(true);
  });

  it("lets filters be of bool alone", () => {
    expect(() => compileFilter("response.code")).toThrow("a filter must give a bool");
    expect(compileFilter("response.code > 1").type).toBe("bool");
  });
});
