import { fromBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { AddressSchema } from "#proto/workload_pb.ts";
import { syntheticMesh } from "./synthetic-mesh.ts";

it("a synthetic mesh has its services before their workloads, and no two share a name or an address", () => {
  const names = new Set<string>();
  const addresses = new Set<string>();
  let workloads = 0;
  for (const { name, bytes } of syntheticMesh(1_000)) {
    names.add(name);
    const { type } = fromBinary(AddressSchema, bytes);
    if (type.case === "workload") {
      workloads++;
      addresses.add(String(type.value.addresses[0]));
      for (const service of Object.keys(type.value.services)) expect(names).toContain(service);
    }
  }
  expect([workloads, addresses.size, names.size]).toEqual([1_000, 1_000, 1_050]);
});
