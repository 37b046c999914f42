import { expect, test } from "vitest";
import type { Pod } from "#lib/kube/types.ts";
import { eligibility, wantsDns } from "./eligibility.ts";

const MODE = "istio.io/dataplane-mode";

function verdict(
  pod: Partial<Pod> & { labels?: Record<string, string> },
  namespaceMode?: string,
  namespace = "default",
) {
  const { labels, ...rest } = pod;
  return eligibility({
    pod: { ...rest, metadata: { name: "p", namespace, ...(labels === undefined ? {} : { labels }), ...pod.metadata } },
    namespaceLabels: namespaceMode === undefined ? {} : { [MODE]: namespaceMode },
    excludedNamespaces: ["kube-system"],
  });
}

test.each([
  ["namespace says ambient", {}, "ambient", true],
  ["pod says ambient", { labels: { [MODE]: "ambient" } }, undefined, true],
  ["pod says ambient, namespace none", { labels: { [MODE]: "ambient" } }, "none", true],
  ["pod says none", { labels: { [MODE]: "none" } }, "ambient", false],
  ["nobody says", {}, undefined, false],
  ["host network", { spec: { hostNetwork: true } }, "ambient", false],
  ["ended", { status: { phase: "Succeeded" } }, "ambient", false],
  ["failed", { status: { phase: "Failed" } }, "ambient", false],
  ["sidecar", { metadata: { name: "p", annotations: { "sidecar.istio.io/status": "{}" } } }, "ambient", false],
] as const)("%s", (_what, pod, namespaceMode, eligible) => {
  expect(verdict(pod, namespaceMode).eligible).toBe(eligible);
});

test("a pod of an excluded namespace is never enrolled", () => {
  expect(verdict({ labels: { [MODE]: "ambient" } }, "ambient", "kube-system")).toEqual({
    eligible: false,
    why: "namespace kube-system is excluded",
  });
});

test("a pod decides on its own DNS", () => {
  const pod = (value: string): Pod => ({
    metadata: { name: "p", annotations: { "ambient.istio.io/dns-capture": value } },
  });
  expect([
    wantsDns({ metadata: { name: "p" } }, true),
    wantsDns(pod("false"), true),
    wantsDns(pod("true"), false),
  ]).toEqual([true, false, true]);
});
