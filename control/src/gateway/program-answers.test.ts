import { expect, it } from "vitest";
import type { L7TypeUrl } from "#lib/xds/types.ts";
import { ProgramAnswers, reasons } from "./program-answers.ts";

const CLUSTER: L7TypeUrl = "type.googleapis.com/weft.l7.Cluster";

function bed() {
  const answers = new ProgramAnswers();
  const told: string[] = [];
  answers.onChange((gateway) => told.push(gateway));
  const say = (client: string, names: string[], error?: string) =>
    answers.note({ gateway: "shop/wp", client, type: CLUSTER, names, error });
  const refused = () =>
    answers.state("shop/wp").refusals.map(({ client, name, reason }) => `${client} ${name} ${reason}`);
  return { answers, told, say, refused };
}

it("keeps what is refused until that very resource is taken, or the pod goes", () => {
  const { answers, told, say, refused } = bed();
  say("shop/a", ["x", "y"]);
  say("shop/a", ["x", "y"], "x: no endpoints");
  say("shop/b", ["x", "y"], "x: no endpoints");
  expect(refused()).toEqual(["shop/a x no endpoints", "shop/b x no endpoints"]);
  say("shop/a", ["y"]);
  expect(refused()).toHaveLength(2);
  say("shop/a", ["x"]);
  answers.forget("shop/wp", "shop/b");
  expect(answers.state("shop/wp")).toEqual({ pods: 1, refusals: [] });
  expect(told).toHaveLength(5);
});

it("tells nobody when nothing changes", () => {
  const { told, say } = bed();
  for (let i = 0; i < 3; i++) say("shop/a", ["x"], "x: bad");
  expect(told).toEqual(["shop/wp"]);
});

it.each([
  [
    ["a", "b"],
    "a: x; y; b: z",
    [
      ["a", "x; y"],
      ["b", "z"],
    ],
  ],
  [["outbound|80||s.svc", "b"], "outbound|80||s.svc: bad: worse", [["outbound|80||s.svc", "bad: worse"]]],
  [
    ["a", "b"],
    "out of memory",
    [
      ["a", "out of memory"],
      ["b", "out of memory"],
    ],
  ],
  [[], "out of memory", [["", "out of memory"]]],
])("takes %j: %s apart", (names, error, expected) => {
  expect(reasons(names, error)).toEqual(expected);
});
