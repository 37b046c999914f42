import { describe, expect, it } from "vitest";
import { type ObjectId, type Remark, Remarks } from "./remarks.ts";

const RULE: ObjectId = "DestinationRule/shop/web";

function remark(message: string, type = "T", object = RULE): Remark {
  return { object, condition: { type, status: "False", reason: "R", message } };
}

describe("remarks", () => {
  it("are one condition of each type, whoever makes them, in an order that does not depend on who was first", () => {
    const [one, other] = [[] as string[], [] as string[]].map((told) => new Remarks((object) => told.push(object)));
    one?.set("a", [remark("x"), remark("y", "U")]);
    one?.set("b", [remark("z")]);
    other?.set("b", [remark("z")]);
    other?.set("a", [remark("x"), remark("y", "U")]);
    expect(one?.of(RULE)).toContainEqual({ type: "T", status: "False", reason: "R", message: "x; z" });
    expect(one?.of(RULE)).toHaveLength(2);
    expect(other?.of(RULE).find(({ type }) => type === "T")?.message).toBe("x; z");
  });

  it("are told when they become something else, and gone with the last who makes them", () => {
    const told: string[] = [];
    const remarks = new Remarks((object) => told.push(object));
    remarks.set("a", [remark("x")]);
    remarks.set("a", [remark("x")]);
    remarks.set("b", [remark("x")]);
    expect(told).toEqual([RULE]);
    remarks.set("a", []);
    expect(told).toEqual([RULE]);
    remarks.set("b", [remark("y", "T", "DestinationRule/shop/other")]);
    expect(told).toEqual([RULE, RULE, "DestinationRule/shop/other"]);
    expect(remarks.of(RULE)).toEqual([]);
    expect([...remarks.objects()]).toEqual(["DestinationRule/shop/other"]);
  });
});
