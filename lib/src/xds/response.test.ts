import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DeltaDiscoveryResponseSchema } from "#proto/discovery_pb.ts";
import { readHead, readResources } from "./response.ts";

test("any response is read as the generated decoder reads it", () => {
  const resource = fc.record({
    name: fc.string(),
    version: fc.string(),
    aliases: fc.array(fc.string(), { maxLength: 2 }),
    value: fc.uint8Array({ maxLength: 40 }),
  });
  const response = fc.record({
    typeUrl: fc.string(),
    nonce: fc.string(),
    systemVersionInfo: fc.string(),
    removedResources: fc.array(fc.string()),
    resources: fc.array(resource),
  });
  fc.assert(
    fc.property(response, ({ resources, ...head }) => {
      const packed = resources.map(({ value, ...rest }) => ({ ...rest, resource: { typeUrl: head.typeUrl, value } }));
      const bytes = toBinary(
        DeltaDiscoveryResponseSchema,
        create(DeltaDiscoveryResponseSchema, { ...head, resources: packed }),
      );
      expect(readHead(bytes)).toEqual({
        typeUrl: head.typeUrl,
        nonce: head.nonce,
        removed: head.removedResources,
        resourceCount: resources.length,
      });
      const read = [...readResources(bytes)].map(({ name, version, bytes: value }) => [name, version, [...value]]);
      expect(read).toEqual(resources.map(({ name, version, value }) => [name, version, [...value]]));
    }),
  );
});

test("any bytes are read to an end or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readHead(bytes);
        for (const { bytes: value } of readResources(bytes)) expect(value.length).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }),
    { numRuns: 2000 },
  );
});
