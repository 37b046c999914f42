import { describe, expect, it } from "vitest";
import { COMMANDS } from "../commands/index.ts";
import { completions } from "./completion.ts";

const complete = (line: string) => completions(COMMANDS, line.split(" "));

describe("completion", () => {
  it("offers commands by what is typed of them", () => {
    expect(complete("way")).toEqual(["waypoint"]);
    expect(complete("waypoint ")).toEqual(["apply", "delete", "generate", "list", "status"]);
    expect(complete("zc cert")).toEqual(["certificates"]);
  });

  it("offers flags of the command, and the values that a flag takes", () => {
    expect(complete("waypoint apply --en")).toEqual(["--enroll-namespace"]);
    expect(complete("workloads -o ")).toEqual(["table", "wide", "json", "yaml", "short"]);
    expect(complete("waypoint apply --for w")).toEqual(["workload"]);
    expect(complete("workloads --node ")).toEqual([]);
  });

  it("is not led astray by flags before a command", () => {
    expect(complete("-n shop waypoint l")).toEqual(["list"]);
  });
});
