import { expect, test } from "vitest";
import { Scope } from "#proto/authorization_pb.ts";
import { authorization, uidOf, workloadAddress } from "../../../test/helpers/mesh-fixtures.ts";
import { meshState, put } from "../../../test/helpers/mesh-state.ts";
import type { Command } from "../native.ts";
import { convertAuthorization } from "./authorization.ts";
import { PolicySync, UNKNOWN_WORKLOAD_POLICY } from "./policy-sync.ts";

function policy(name: string, scope: Scope, namespace = "default") {
  return convertAuthorization(authorization({ name, namespace, scope }));
}

function setup() {
  const state = meshState();
  const sync = new PolicySync({ policies: state.policies, workloadOf: () => state.workloads.get(uidOf("a")) });
  const names = (policies: string[]) =>
    put(state, workloadAddress({ name: "a", more: { authorizationPolicies: policies } }));
  return { state, sync, names };
}

const ops = (commands: readonly Command[]) =>
  commands.map((command) =>
    command.op === "set-pod-policies" ? command.policies : "name" in command ? `${command.op} ${command.name}` : "",
  );

test("a pod whose workload is not known is under a policy that nobody has", () => {
  const { sync } = setup();
  expect(ops(sync.addPod(1))).toEqual([[UNKNOWN_WORKLOAD_POLICY]]);
});

test("global, its namespace's and the named ones are in force, texts before lists", () => {
  const { state, sync, names } = setup();
  state.setPolicy(policy("g", Scope.GLOBAL, "istio-system"));
  state.setPolicy(policy("n", Scope.NAMESPACE));
  state.setPolicy(policy("x", Scope.NAMESPACE, "other"));
  state.setPolicy(policy("s", Scope.WORKLOAD_SELECTOR));
  state.setPolicy(policy("unused", Scope.WORKLOAD_SELECTOR));
  names(["default/s", "default/missing"]);
  expect(ops(sync.addPod(1))).toEqual([
    "set-policy default/n",
    "set-policy default/s",
    "set-policy istio-system/g",
    ["default/missing", "default/n", "default/s", "istio-system/g"],
  ]);
  expect(sync.change()).toEqual([]);
});

test("a change of text pushes the text only; a change of names the list only", () => {
  const { state, sync, names } = setup();
  state.setPolicy(policy("s", Scope.WORKLOAD_SELECTOR));
  names(["default/s"]);
  sync.addPod(1);
  state.setPolicy(policy("s", Scope.WORKLOAD_SELECTOR));
  expect(ops(sync.change())).toEqual(["set-policy default/s"]);
  names([]);
  expect(ops(sync.change())).toEqual([[], "remove-policy default/s"]);
});

test("a policy that goes while a workload still names it stays in force until it no longer does", () => {
  const { state, sync, names } = setup();
  state.setPolicy(policy("s", Scope.WORKLOAD_SELECTOR));
  names(["default/s"]);
  sync.addPod(1);
  state.removePolicy("default/s");
  expect(sync.change()).toEqual([]);
  names([]);
  expect(ops(sync.change())).toEqual([[], "remove-policy default/s"]);
});
