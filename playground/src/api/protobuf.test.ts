import { describe, expect, it } from "vitest";
import { decodeProtobuf } from "./protobuf.ts";

/** A length-delimited field. */
function field(number: number, content: Buffer | string): Buffer {
  const data = Buffer.from(content);
  return Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), data]);
}

function envelope(kind: string, raw: Buffer): Buffer {
  const typeMeta = Buffer.concat([field(1, "v1"), field(2, kind)]);
  return Buffer.concat([Buffer.from("k8s\0"), field(1, typeMeta), field(2, raw)]);
}

describe("protobuf bodies", () => {
  it("become the same object as JSON", () => {
    const label = Buffer.concat([field(1, "team"), field(2, "blue")]);
    const metadata = Buffer.concat([field(1, "x"), field(11, label)]);
    const data = Buffer.concat([field(1, "key"), field(2, "value")]);
    expect(decodeProtobuf(envelope("ConfigMap", Buffer.concat([field(1, metadata), field(2, data)])))).toEqual({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "x", labels: { team: "blue" } },
      data: { key: "value" },
    });
  });

  it("are refused with the reason when they hold what is not known", () => {
    expect(() => decodeProtobuf(envelope("Endpoints", Buffer.alloc(0)))).toThrow(
      "does not read a Endpoints as protobuf",
    );
    expect(() => decodeProtobuf(envelope("ConfigMap", field(9, "x")))).toThrow("field 9 of ConfigMap");
    expect(() => decodeProtobuf(envelope("ConfigMap", Buffer.from([0x0a, 200])))).toThrow("damaged");
    expect(() => decodeProtobuf(Buffer.from("other"))).toThrow("no protobuf object");
  });
});
