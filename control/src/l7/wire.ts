/** Messages put together from parts that are encoded already, so that an edit encodes what it touches and nothing else. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Bytes in several pieces. */
export class Rope {
  readonly pieces: Uint8Array[] = [];
  length = 0;

  bytes(piece: Uint8Array): this {
    this.pieces.push(piece);
    this.length += piece.length;
    return this;
  }

  /** A field that holds `content`. */
  field(number: number, content: Rope | Uint8Array): this {
    const header = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(content.length).finish();
    this.bytes(header);
    if (content instanceof Uint8Array) return this.bytes(content);
    for (const piece of content.pieces) this.bytes(piece);
    return this;
  }

  finish(): Uint8Array {
    return Buffer.concat(this.pieces, this.length);
  }
}
