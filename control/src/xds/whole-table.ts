/** Everything in a table as responses that every client can be sent which begins with nothing: after a restart, all do. */
import type { ResourceTable } from "../model/resource-table.ts";
import { type Body, bodies, EMPTY_BODY } from "./responses.ts";

export class WholeTable {
  readonly table: ResourceTable;
  readonly #maxBytes: number;
  #made: { readonly revision: number; readonly bodies: readonly Body[] } | undefined;

  constructor(table: ResourceTable, maxBytes: number) {
    this.table = table;
    this.#maxBytes = maxBytes;
  }

  /** As it is now; one that is empty when there is nothing. */
  bodies(): readonly Body[] {
    const { revision } = this.table;
    if (this.#made?.revision !== revision) {
      const made = [...bodies(this.table.values(), [], this.#maxBytes)];
      this.#made = { revision, bodies: made.length === 0 ? [EMPTY_BODY] : made };
    }
    return this.#made.bodies;
  }
}
