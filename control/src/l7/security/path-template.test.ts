import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, it } from "vitest";
import { isPathTemplate, templateRegex } from "./path-template.ts";

/** Element by element, the slow and plain way. */
function matches(template: string, path: string): boolean {
  const want = template.slice(1).split("/");
  if (!path.startsWith("/")) return false;
  const have = path.slice(1).split("/");
  const rest = want.indexOf("{**}");
  const fits = (pattern: string | undefined, element: string | undefined) =>
    element !== undefined && (pattern === "{*}" ? element !== "" : pattern === element);
  if (rest === -1) return want.length === have.length && want.every((pattern, index) => fits(pattern, have[index]));
  const tail = want.slice(rest + 1);
  if (have.length < rest + 1 + tail.length) return false;
  return (
    want.slice(0, rest).every((pattern, index) => fits(pattern, have[index])) &&
    tail.every((pattern, index) => fits(pattern, have[have.length - tail.length + index]))
  );
}

describe("a path template", () => {
  it("matches as its elements say, each by itself", () => {
    const literal = fc.constantFrom("a", "b.c", "a+b", "(x)", "");
    const template = fc
      .tuple(
        fc.array(fc.oneof(literal, fc.constant("{*}")), { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        fc.array(literal, { maxLength: 2 }),
      )
      .map(([head, rest, tail]) => `/${[...head, ...(rest ? ["{**}"] : []), ...tail].join("/")}`);
    const path = fc
      .array(fc.constantFrom("a", "b.c", "bxc", "a+b", "(x)", "x", ""), { maxLength: 5 })
      .map((parts) => `/${parts.join("/")}`);
    fc.assert(
      fc.property(template, path, (pattern, text) => {
        const result = templateRegex(pattern);
        if ("problem" in result) throw new Error(result.problem);
        expect(RE2JS.compile(result.regex).matches(text)).toBe(matches(pattern, text));
      }),
      { numRuns: 1_000 },
    );
  });

  it("is none when stars or braces are anywhere else", () => {
    for (const text of ["a/{*}", "/{x}", "/a{*}", "/{**}/{*}", "/{**}/{**}", "/*/{*}", "/{*", "/{*}*"]) {
      expect(isPathTemplate(text)).toBe(true);
      expect(templateRegex(text)).toHaveProperty("problem");
    }
  });
});
