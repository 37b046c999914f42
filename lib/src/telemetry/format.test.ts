import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_JSON_FORMAT, DEFAULT_TEXT_FORMAT } from "./default-format.ts";
import { FormatError, type FormatProblem, headersOf, parseFormat, parseJsonFormat } from "./format.ts";
import { OPERATORS } from "./operators.ts";

function problemOf(text: string): FormatProblem | undefined {
  try {
    parseFormat(text);
    return undefined;
  } catch (error) {
    if (error instanceof FormatError) return error.problem;
    throw error;
  }
}

describe("parseFormat", () => {
  it("takes the default format, which has 24 operators", () => {
    expect(parseFormat(DEFAULT_TEXT_FORMAT).filter(({ kind }) => kind === "operator")).toHaveLength(24);
    expect(headersOf(parseFormat(DEFAULT_TEXT_FORMAT))).toEqual({ request: [], response: [] });
    expect(headersOf(parseJsonFormat(DEFAULT_JSON_FORMAT))).toEqual({ request: [], response: [] });
  });

  it("reads headers with an alternative and a length", () => {
    expect(parseFormat("a%REQ(X-A?X-B):5%b")).toEqual([
      { kind: "text", text: "a" },
      { kind: "operator", name: "REQ", argument: "x-a", alternative: "x-b", maxLength: 5 },
      { kind: "text", text: "b" },
    ]);
  });

  it("lets times have percent signs and parentheses of their own", () => {
    expect(parseFormat("%START_TIME(%Y (UTC) %H:%M:%S.%3f)%")).toEqual([
      { kind: "operator", name: "START_TIME", argument: "%Y (UTC) %H:%M:%S.%3f" },
    ]);
  });

  it("writes a percent sign for two", () => {
    expect(parseFormat("100%% %DURATION%")).toEqual([
      { kind: "text", text: "100% " },
      { kind: "operator", name: "DURATION" },
    ]);
  });

  it.each<[string, FormatProblem]>([
    ["%NO_SUCH_THING%", "unknown-operator"],
    ["%%%", "unterminated"],
    ["%DURATION", "unterminated"],
    ["%duration%", "unterminated"],
    ["%REQ(X-A%", "unterminated"],
    ["%REQ%", "missing-argument"],
    ["%ENVIRONMENT%", "missing-argument"],
    ["%DURATION(x)%", "unexpected-argument"],
    ["%REQ()%", "bad-argument"],
    ["%REQ(a b)%", "bad-argument"],
    ["%REQ(a?b?c)%", "bad-argument"],
    ["%PROTOCOL:x%", "bad-length"],
    ["%PROTOCOL:99999999%", "bad-length"],
    ["a".repeat(20_000), "too-long"],
  ])("refuses %s by the name %s", (text, problem) => {
    expect(problemOf(text)).toBe(problem);
  });

  it("never fails but by a FormatError, and reads its own segments back", () => {
    const piece = fc.oneof(
      fc.constantFrom(...Object.keys(OPERATORS).map((name) => `%${name}%`)),
      fc.constantFrom("%REQ(", "%", "%%", ")%", ":3%", "(", "%RESP(a?b):9%", "%START_TIME(%s)%"),
      fc.string({ maxLength: 6 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("");
        if (problemOf(text) !== undefined) return;
        const again = parseFormat(text)
          .map((segment) => {
            if (segment.kind === "text") return segment.text.replaceAll("%", "%%");
            const { name, argument, alternative, maxLength } = segment;
            const second = alternative === undefined ? "" : `?${alternative}`;
            const inside = argument === undefined ? "" : `(${argument}${second})`;
            return `%${name}${inside}${maxLength === undefined ? "" : `:${maxLength}`}%`;
          })
          .join("");
        expect(parseFormat(again)).toEqual(parseFormat(text));
      }),
    );
  });
});

describe("headersOf", () => {
  it("names what records must be given, once and in lower case", () => {
    const format = parseFormat("%REQ(X-B)% %REQ(X-A?X-B)% %RESP(ETag)% %REQ(User-Agent)% %TRAILER(x)%");
    expect(headersOf(format)).toEqual({ request: ["x-a", "x-b"], response: ["etag"] });
  });

  it("looks into nested JSON", () => {
    const format = parseJsonFormat({ a: { b: ["%REQ(X-A)%", 1, true, null] }, c: "%RESP(x-c)%" });
    expect(headersOf(format)).toEqual({ request: ["x-a"], response: ["x-c"] });
  });
});
