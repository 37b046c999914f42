/**
 * Reads a DeltaDiscoveryResponse one resource at a time. The first response of a large mesh holds 100,000 of them:
 * a decoded message tree of that would cost several times the mesh's own records.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export interface ResponseHead {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly removed: readonly string[];
  readonly resourceCount: number;
}

export interface WireResource {
  readonly name: string;
  readonly version: string;
  /** The packed message. A view into the response: copy what must live longer. */
  readonly bytes: Uint8Array;
}

const RESOURCES = 2;
const TYPE_URL = 4;
const NONCE = 5;
const REMOVED = 6;

/** Throws when the bytes are no such message. */
export function readHead(bytes: Uint8Array): ResponseHead {
  const reader = new BinaryReader(bytes);
  const removed: string[] = [];
  let typeUrl = "";
  let nonce = "";
  let resourceCount = 0;
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === TYPE_URL) typeUrl = reader.string();
    else if (field === NONCE) nonce = reader.string();
    else if (field === REMOVED) removed.push(reader.string());
    else {
      if (field === RESOURCES) resourceCount++;
      reader.skip(wire, field);
    }
  }
  return { typeUrl, nonce, removed, resourceCount };
}

export function* readResources(bytes: Uint8Array): Generator<WireResource> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field !== RESOURCES || wire !== WireType.LengthDelimited) {
      reader.skip(wire, field);
      continue;
    }
    const end = reader.uint32() + reader.pos;
    if (end > reader.len) throw new RangeError("resource reaches past the end of the response");
    yield readResource(reader, end);
  }
}

function readResource(reader: BinaryReader, end: number): WireResource {
  let name = "";
  let version = "";
  let body = EMPTY;
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    if (field === 1) version = reader.string();
    else if (field === 2) body = anyValue(reader.bytes());
    else if (field === 3) name = reader.string();
    else reader.skip(wire, field);
  }
  return { name, version, bytes: body };
}

/** The value of a `google.protobuf.Any`; its type is that of the response. */
function anyValue(any: Uint8Array): Uint8Array {
  const reader = new BinaryReader(any);
  let value = EMPTY;
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === 2) value = reader.bytes();
    else reader.skip(wire, field);
  }
  return value;
}

const EMPTY: Uint8Array = new Uint8Array(0);
