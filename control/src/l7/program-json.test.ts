import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { TypeUrl } from "#lib/xds/types.ts";
import { ClusterSchema, ListenerSchema } from "#proto/l7_pb.ts";
import { ResourceTable } from "../model/resource-table.ts";
import { programJson } from "./program-json.ts";

function tableOf(type: "Cluster" | "Listener", name: string, message: Uint8Array): [TypeUrl, ResourceTable] {
  const typeUrl = `type.googleapis.com/weft.l7.${type}` as const;
  const table = new ResourceTable(typeUrl, { versioned: true });
  table.set(name, message);
  return [typeUrl, table];
}

describe("a program for people", () => {
  it("has names, versions and messages, and no private keys", () => {
    const cluster = create(ClusterSchema, {
      name: "c",
      port: 80,
      tls: { privateKey: "KEY", certificateChain: "CHAIN" },
    });
    const listener = create(ListenerSchema, { name: "l", tls: { privateKey: "KEY" } });
    const json = programJson(
      new Map([
        tableOf("Cluster", "c", toBinary(ClusterSchema, cluster)),
        tableOf("Listener", "l", toBinary(ListenerSchema, listener)),
      ]),
    );
    expect(json).toEqual({
      Cluster: [
        {
          name: "c",
          version: expect.stringMatching(/^[0-9a-f]+$/),
          resource: { name: "c", port: 80, tls: { privateKey: "redacted", certificateChain: "CHAIN" } },
        },
      ],
      Listener: [{ name: "l", version: expect.anything(), resource: { name: "l", tls: { privateKey: "redacted" } } }],
    });
  });
});
