/** Delta responses, put together from resources that are encoded already. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { TypeUrl } from "#lib/xds/types.ts";
import type { Resource } from "../model/resource-table.ts";

/** Field numbers of DeltaDiscoveryResponse. */
const SYSTEM_VERSION_INFO = 1;
const TYPE_URL = 4;
const NONCE = 5;
const REMOVED_RESOURCES = 6;

/**
 * Resources per response, in bytes. Below the 4 MiB that gRPC clients take by default, and large enough that meshes of
 * some 10,000 workloads come in one piece: a client counts as ready after its first response.
 */
export const MAX_RESPONSE_BYTES = 3_500_000;

/** A part of a response that does not depend on the subscriber, so that all can share it. */
export interface Body {
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly bytes: Uint8Array;
}

export const EMPTY_BODY: Body = { changed: [], removed: [], bytes: new Uint8Array() };

/** Splits what is to be sent into bodies of at most `maxBytes` (one resource may be larger). */
export function* bodies(
  resources: Iterable<Resource>,
  removed: Iterable<string>,
  maxBytes = MAX_RESPONSE_BYTES,
): Generator<Body> {
  let parts: Uint8Array[] = [];
  let names: string[] = [];
  let gone: string[] = [];
  let size = 0;
  const finish = (): Body => {
    const body = { changed: names, removed: gone, bytes: Buffer.concat(parts, size) };
    parts = [];
    names = [];
    gone = [];
    size = 0;
    return body;
  };
  for (const { name, encoded } of resources) {
    if (size > 0 && size + encoded.length > maxBytes) yield finish();
    parts.push(encoded);
    names.push(name);
    size += encoded.length;
  }
  for (const name of removed) {
    const encoded = stringField(REMOVED_RESOURCES, name);
    if (size > 0 && size + encoded.length > maxBytes) yield finish();
    parts.push(encoded);
    gone.push(name);
    size += encoded.length;
  }
  if (size > 0) yield finish();
}

/** The whole message for one subscriber. */
export function encodeResponse(typeUrl: TypeUrl, version: string, nonce: string, body: Body): Buffer {
  const head = new BinaryWriter()
    .tag(SYSTEM_VERSION_INFO, WireType.LengthDelimited)
    .string(version)
    .tag(TYPE_URL, WireType.LengthDelimited)
    .string(typeUrl)
    .tag(NONCE, WireType.LengthDelimited)
    .string(nonce)
    .finish();
  return Buffer.concat([head, body.bytes], head.length + body.bytes.length);
}

function stringField(number: number, text: string): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).string(text).finish();
}
