import { inflateSync } from "node:zlib";
import fc from "fast-check";
import { expect, it } from "vitest";
import { deflatePiece, joinPieces, NO_PIECE, storedPiece, zlibStream } from "./joined-deflate.ts";

const bytes = fc.uint8Array({ maxLength: 20_000, size: "max" });
const piece = fc
  .tuple(bytes, fc.boolean())
  .map(([content, stored]) => ({ content, piece: stored ? storedPiece(content) : deflatePiece(content) }));

it("makes one stream of its pieces, whose content and checksum an ordinary decoder accepts", () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), fc.array(piece, { maxLength: 6 }), (first, second) => {
      const joined = joinPieces(first.map((each) => each.piece));
      const stream = Buffer.concat(zlibStream([NO_PIECE, joined, ...second.map((each) => each.piece)]));
      const expected = Buffer.concat([...first, ...second].map(({ content }) => content));
      expect(inflateSync(stream).equals(expected)).toBe(true);
    }),
  );
});

it("sums up bytes that are as large as they can be", () => {
  const content = Buffer.alloc(300_000, 255);
  expect(inflateSync(Buffer.concat(zlibStream([deflatePiece(content)]))).equals(content)).toBe(true);
});
