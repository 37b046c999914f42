import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, it } from "vitest";
import { LogRoot } from "#lib/log.ts";
import { TelemetrySchema } from "#proto/l7_pb.ts";
import { WaypointTelemetry } from "./telemetry.ts";
import { encodeRecord, encodeSeries, facts, golden } from "./test-records.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-access-log-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const warnings: string[] = [];
const log = new LogRoot({
  format: "plain",
  filter: "info",
  destination: { write: (line) => warnings.push(line), flushSync: () => undefined },
}).logger("telemetry");

function telemetryWith(message: MessageInitShape<typeof TelemetrySchema>): WaypointTelemetry {
  const telemetry = new WaypointTelemetry({
    series: () => encodeSeries(facts(), 2),
    stats: () => ({
      openConnections: 1,
      openRequests: 2,
      openTunnels: 3,
      bufferedBytes: 4,
      recordsLost: 5,
      seriesOverflowed: 6,
    }),
    call: () => Promise.reject(new Error("nobody is to be called")),
    proxy: {
      hostname: "h",
      identity: "",
      environment: {},
      nodeId: "n",
      ip: "",
      namespace: "default",
      clusterId: "c",
      meshId: "m",
      zone: "",
      canonicalService: "w",
      canonicalRevision: "latest",
    },
    log,
    tag: "1.2.3",
  });
  const bytes = toBinary(TelemetrySchema, create(TelemetrySchema, message));
  telemetry.apply([{ type: "Telemetry", name: message.name ?? "", bytes }], []);
  return telemetry;
}

describe("WaypointTelemetry", () => {
  it("writes each log of the Telemetry in force to its file, and nothing of requests of others", async () => {
    const path = join(folder, "logs", "access.log");
    const telemetry = telemetryWith({
      name: "default/mesh",
      accessLogs: [
        { path, format: { case: "text", value: "one %RESPONSE_CODE%" } },
        { path, format: { case: "text", value: "two" }, filter: "response.code == 200" },
        { path, format: { case: "text", value: "%UNKNOWN%" } },
      ],
    });
    telemetry.onRecords(new Uint8Array(Buffer.concat([golden("request-record.hex"), encodeRecord({ status: 200 })])));
    telemetry.onRecords(encodeRecord({ status: 200, texts: { telemetry: "default/mesh" } }));
    await telemetry.close();
    expect(readFileSync(path, "utf8")).toBe("one 503\none 200\ntwo\n");
    expect(warnings.join("")).toContain("%UNKNOWN% is not an operator");
  });

  it("stops with a Telemetry that is removed", async () => {
    const path = join(folder, "access.log");
    const telemetry = telemetryWith({
      name: "default/mesh",
      accessLogs: [{ path, format: { case: "text", value: "x" } }],
    });
    telemetry.apply([], [{ type: "Telemetry", name: "default/mesh" }]);
    telemetry.onRecords(golden("request-record.hex"));
    await telemetry.close();
    expect(readFileSync(path, "utf8")).toBe("");
  });

  it("shows traffic and the process on one page", async () => {
    const page = await telemetryWith({ name: "t" }).registry.metrics();
    expect(page).toMatch(/istio_requests_total\{.*\} 2/);
    expect(page).toContain('istio_build{component="proxy",tag="1.2.3"} 1');
    expect(page).toContain("weft_records_lost_total 5");
    expect(page).toContain("weft_series_overflowed_total 6");
  });

  it("survives a batch that it cannot read", () => {
    const telemetry = telemetryWith({ name: "t" });
    telemetry.onRecords(Uint8Array.of(9, 9, 9));
    expect(warnings.join("")).toContain("records lost");
  });
});
