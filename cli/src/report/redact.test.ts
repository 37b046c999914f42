import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { redact, redactText } from "./redact.ts";

const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

describe("what a report leaves out", () => {
  it("is tokens, keys and passwords in any text", () => {
    expect(redactText(`authorization: Bearer ${JWT}`)).toBe("authorization: Bearer redacted");
    expect(redactText(`got ${JWT} from x`)).toBe("got redacted from x");
    expect(redactText("a -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b")).toBe("a redacted b");
    expect(redactText("-----BEGIN PRIVATE KEY-----\ncut off")).toBe("redacted");
    expect(redactText("db_password=hunter2 user=jo")).toBe("db_password=redacted user=jo");
    expect(redactText('{"api-key":"hunter2"}')).toBe('{"api-key":"redacted"}');
  });

  it("is the values of secret fields, of environments and headers", () => {
    const given = {
      privateKey: "k",
      token: { kind: "static", token: "t" },
      headers: { authorization: "x", accept: "y" },
      env: [
        { name: "DB_PASSWORD", value: "p" },
        { name: "MODE", value: "m" },
      ],
      secretName: "of a volume",
      automountServiceAccountToken: false,
    };
    expect(redact(given)).toEqual({
      privateKey: "redacted",
      token: { kind: "static", token: "redacted" },
      headers: { authorization: "redacted", accept: "y" },
      env: [
        { name: "DB_PASSWORD", value: "redacted" },
        { name: "MODE", value: "m" },
      ],
      secretName: "of a volume",
      automountServiceAccountToken: false,
    });
  });

  it("never has a token left, wherever it stood", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.string(),
        fc.string({ unit: fc.constantFrom("a", "b", "name", "-", "_") }),
        (value, around, key) => {
          const text = JSON.stringify(redact({ [key]: [value, { [key]: ` ${JWT} ${around}` }] }));
          expect(text).not.toContain(JWT);
        },
      ),
    );
  });
});
