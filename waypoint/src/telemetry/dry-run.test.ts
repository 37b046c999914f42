import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { parseFormat } from "#lib/telemetry/format.ts";
import { compileText } from "./access-line.ts";
import { DryRunMetrics, dryRunsOf, dryRunTags } from "./dry-run.ts";
import { decodeRecords, type RequestRecord } from "./records.ts";
import { encodeRecord, type RecordFields } from "./test-records.ts";

const DENIED = "denied ns[shop]-policy[no]-rule[1]";

function record(texts: RecordFields["texts"], more: Partial<RecordFields> = {}): RequestRecord {
  const [only] = decodeRecords(encodeRecord({ ...more, texts: { downstreamLocal: "10.96.0.1:80", ...texts } }));
  if (only === undefined) throw new Error("no record");
  return only;
}

it("has a result for each action that has tried policies", () => {
  expect(dryRunsOf(record({}))).toEqual([]);
  expect(dryRunsOf(record({ dryRunDeny: DENIED, dryRunAllow: "denied" }))).toEqual([
    { action: "deny", result: "denied", policy: "ns[shop]-policy[no]-rule[1]" },
    { action: "allow", result: "denied", policy: "" },
  ]);
});

it("is counted under the names of Istio's documentation", async () => {
  const registry = new Registry();
  const metrics = new DryRunMetrics(registry);
  metrics.count(record({}));
  for (let i = 0; i < 2; i++) metrics.count(record({ dryRunDeny: DENIED }));
  metrics.count(record({ dryRunAllow: "allowed ns[shop]-policy[yes]-rule[0]" }, { tcp: true }));
  const page = await registry.metrics();
  expect(page).toContain(
    'envoy_http_inbound_0_0_0_0_80_rbac{authz_dry_run_action="deny",authz_dry_run_result="denied"} 2\n',
  );
  expect(page).toContain('envoy_tcp_rbac{authz_dry_run_action="allow",authz_dry_run_result="allowed"} 1\n');
});

it("is in spans and, for who asks, in lines of the access log", () => {
  const tags = new Map<string, string>();
  const tried = record({ dryRunDeny: DENIED, dryRunAllow: "denied" });
  dryRunTags(tried, tags);
  expect(Object.fromEntries(tags)).toEqual({
    "istio.authorization.dry_run.deny_policy.name": "ns[shop]-policy[no]-rule[1]",
    "istio.authorization.dry_run.deny_policy.result": "denied",
    "istio.authorization.dry_run.allow_policy.result": "denied",
  });
  const prefix = "envoy.filters.http.rbac:istio_dry_run";
  const format = ["deny_shadow_engine_result", "deny_shadow_effective_policy_id", "allow_shadow_effective_policy_id"]
    .map((name) => `%DYNAMIC_METADATA(${prefix}_${name})%`)
    .join(" ");
  const line = compileText(parseFormat(format), { hostname: "", identity: "", environment: {} });
  expect(line(tried)).toBe("denied ns[shop]-policy[no]-rule[1] -");
  expect(line(record({}))).toBe("- - -");
});
