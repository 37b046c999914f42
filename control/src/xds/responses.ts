/** Delta responses, put together from resources that are encoded already. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { TypeUrl } from "#lib/xds/types.ts";
import type { OutgoingMessage } from "../grpc/call.ts";
import type { Resource } from "../model/resource-table.ts";
import { type DeflatedPiece, deflatePiece, storedPiece, zlibStream } from "./joined-deflate.ts";

/** Below this, a message to all is not worth deflating. */
const DEFLATED_FROM_BYTES = 16_384;

/** Field numbers of DeltaDiscoveryResponse. */
const SYSTEM_VERSION_INFO = 1;
const TYPE_URL = 4;
const NONCE = 5;
const REMOVED_RESOURCES = 6;

/**
 * Of one change, in bytes: below the 4 MiB that gRPC clients take by default. The first answer of a type is one response
 * however large it is: a client counts as ready after it, and nothing in the protocol says that more belongs to it.
 */
export const MAX_CHANGE_BYTES = 3_500_000;

/** A part of a response that does not depend on the subscriber, so that all can share it. */
export interface Body {
  parts(): readonly Uint8Array[];
  /** The same for clients that take it deflated, where it is worth that. */
  deflated?(): DeflatedPiece;
}

/** One that knows what is in it. */
export interface ListedBody extends Body {
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export const EMPTY_BODY: ListedBody = { changed: [], removed: [], parts: () => [] };

/** Splits what is to be sent into bodies of at most `maxBytes` (one resource may be larger). */
export function* bodies(
  resources: Iterable<Resource>,
  removed: Iterable<string>,
  maxBytes: number,
): Generator<ListedBody> {
  let parts: Uint8Array[] = [];
  let names: string[] = [];
  let gone: string[] = [];
  let size = 0;
  const finish = (): ListedBody => {
    const whole = [Buffer.concat(parts, size)];
    const body = { changed: names, removed: gone, parts: () => whole };
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

/** For many clients: a large one is deflated when the first of them takes it so. */
export function sharedBody(body: ListedBody): ListedBody {
  const parts = body.parts();
  const bytes = parts.reduce((sum, { length }) => sum + length, 0);
  if (bytes < DEFLATED_FROM_BYTES) return body;
  let deflated: DeflatedPiece | undefined;
  return {
    ...body,
    deflated: () => {
      deflated ??= deflatePiece(Buffer.concat(parts));
      return deflated;
    },
  };
}

/** The whole message for one subscriber, which shares the body with others. */
export function encodeResponse(
  typeUrl: TypeUrl,
  version: string,
  nonce: string,
  body: Body,
  takesDeflate: boolean,
): OutgoingMessage {
  const head = new BinaryWriter()
    .tag(SYSTEM_VERSION_INFO, WireType.LengthDelimited)
    .string(version)
    .tag(TYPE_URL, WireType.LengthDelimited)
    .string(typeUrl)
    .tag(NONCE, WireType.LengthDelimited)
    .string(nonce)
    .finish();
  const deflated = takesDeflate ? body.deflated?.() : undefined;
  if (deflated !== undefined) return { parts: zlibStream([storedPiece(head), deflated]), deflated: true };
  return { parts: [head, ...body.parts()], deflated: false };
}

function stringField(number: number, text: string): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).string(text).finish();
}
