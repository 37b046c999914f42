/** Everything in a table as one answer that every client can be sent which begins with nothing: after a restart, all do. */
import { setImmediate } from "node:timers/promises";
import type { ResourceTable, TableChange } from "../model/resource-table.ts";
import { type DeflatedPiece, deflatePiece, joinPieces } from "./joined-deflate.ts";
import type { Body } from "./responses.ts";

/** Some resources, whose bytes are made again when one of them has changed. */
interface Chunk {
  readonly names: Set<string>;
  deflated: DeflatedPiece | undefined;
  /** Made when a client asks that takes nothing else. */
  plain: Buffer | undefined;
}

/** About 50 KB: enough to deflate well, and little to do again for one change. */
const CHUNK_RESOURCES = 128;
/** Chunks that are deflated in one turn of the event loop: some 4 ms. */
const CHUNKS_PER_TURN = 16;

export class WholeTable {
  readonly table: ResourceTable;
  readonly #chunks = new Set<Chunk>();
  readonly #chunkOf = new Map<string, Chunk>();
  /** To be deflated. */
  readonly #outdated = new Set<Chunk>();
  /** Where new resources go. */
  #open: Chunk | undefined;
  #joined: DeflatedPiece | undefined;

  constructor(table: ResourceTable) {
    this.table = table;
    for (const name of table.names()) this.#add(name);
  }

  /** What a flush changed. */
  note({ changed, removed }: TableChange): void {
    for (const name of removed) {
      const chunk = this.#chunkOf.get(name);
      if (chunk === undefined) continue;
      this.#chunkOf.delete(name);
      chunk.names.delete(name);
      this.#outdate(chunk);
      if (chunk.names.size === 0) this.#forget(chunk);
      else if (chunk.names.size < CHUNK_RESOURCES / 2) this.#open = chunk;
    }
    for (const name of changed) this.#add(name);
  }

  /** So little is left to be deflated that `body` may do it. */
  get ready(): boolean {
    return this.#outdated.size <= CHUNKS_PER_TURN;
  }

  /** Ready when it resolves; in between, others get their turn. */
  async prepare(): Promise<void> {
    while (!this.ready) {
      for (const chunk of [...this.#outdated].slice(0, CHUNKS_PER_TURN)) this.#deflated(chunk);
      await setImmediate();
    }
  }

  /** As it is now. Later changes do not reach what was returned. */
  body(): Body {
    return {
      parts: () => {
        for (const chunk of this.#chunks) chunk.plain ??= this.#bytesOf(chunk);
        return [...this.#chunks].map(({ plain }) => plain as Buffer);
      },
      deflated: () => {
        this.#joined ??= joinPieces([...this.#chunks].map((chunk) => this.#deflated(chunk)));
        return this.#joined;
      },
    };
  }

  #add(name: string): void {
    const known = this.#chunkOf.get(name);
    if (known !== undefined) {
      this.#outdate(known);
      return;
    }
    if (this.#open === undefined || this.#open.names.size >= CHUNK_RESOURCES) {
      this.#open = { names: new Set(), deflated: undefined, plain: undefined };
      this.#chunks.add(this.#open);
    }
    this.#open.names.add(name);
    this.#chunkOf.set(name, this.#open);
    this.#outdate(this.#open);
  }

  #deflated(chunk: Chunk): DeflatedPiece {
    chunk.deflated ??= deflatePiece(this.#bytesOf(chunk));
    this.#outdated.delete(chunk);
    return chunk.deflated;
  }

  #outdate(chunk: Chunk): void {
    this.#outdated.add(chunk);
    chunk.deflated = undefined;
    chunk.plain = undefined;
    this.#joined = undefined;
  }

  #forget(chunk: Chunk): void {
    this.#chunks.delete(chunk);
    this.#outdated.delete(chunk);
    if (this.#open === chunk) this.#open = undefined;
  }

  /** A resource that is gone though nobody has been told yet is left out. */
  #bytesOf({ names }: Chunk): Buffer {
    const found = [...names].map((name) => this.table.get(name)).filter((resource) => resource !== undefined);
    return Buffer.concat(found.map(({ encoded }) => encoded));
  }
}
