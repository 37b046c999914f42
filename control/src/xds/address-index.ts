/** What on-demand clients ask by: network and IP, service, node. Kept only when there is such a client. */
import { fromBinary } from "@bufbuild/protobuf";
import { ipFromBytes, networkAddressKey } from "#lib/address.ts";
import { serviceKey } from "#lib/xds/types.ts";
import { AddressSchema } from "#proto/workload_pb.ts";
import { OwnedNames } from "../model/owned-names.ts";
import type { ResourceTable, TableChange } from "../model/resource-table.ts";

/** What one resource can be asked by, beside its name. */
export interface AddressTraits {
  /** `network/ip`, or `network/ip/length` of a range. */
  readonly aliases: readonly string[];
  /** Services of which it is an endpoint. */
  readonly services: readonly string[];
  /** Empty unless it is a workload on a node. */
  readonly node: string;
}

const NO_TRAITS: AddressTraits = { aliases: [], services: [], node: "" };

export class AddressIndex {
  readonly #table: ResourceTable;
  readonly #traits = new Map<string, AddressTraits>();
  readonly #byAlias = new OwnedNames();
  readonly #byService = new OwnedNames();
  readonly #byNode = new OwnedNames();

  constructor(table: ResourceTable) {
    this.#table = table;
    for (const name of table.names()) this.#add(name);
  }

  update(change: TableChange): void {
    for (const name of change.removed) this.#remove(name);
    for (const name of change.changed) {
      this.#remove(name);
      this.#add(name);
    }
  }

  traits(name: string): AddressTraits {
    return this.#traits.get(name) ?? NO_TRAITS;
  }

  onNode(node: string): ReadonlySet<string> {
    return this.#byNode.of(node);
  }

  /** Names of the resources that answer to `key`: the one itself, those with the address, a service's endpoints. */
  find(key: string): string[] {
    const named = this.#table.get(key) === undefined ? [] : [key];
    return [...named, ...this.#byAlias.of(key), ...this.#byService.of(key)];
  }

  #add(name: string): void {
    const resource = this.#table.get(name);
    if (resource === undefined) return;
    const traits = readTraits(resource.message);
    this.#traits.set(name, traits);
    for (const alias of traits.aliases) this.#byAlias.add(alias, name);
    for (const service of traits.services) this.#byService.add(service, name);
    if (traits.node !== "") this.#byNode.add(traits.node, name);
  }

  #remove(name: string): void {
    const traits = this.#traits.get(name);
    if (traits === undefined) return;
    this.#traits.delete(name);
    for (const alias of traits.aliases) this.#byAlias.remove(alias, name);
    for (const service of traits.services) this.#byService.remove(service, name);
    if (traits.node !== "") this.#byNode.remove(traits.node, name);
  }
}

function readTraits(message: Uint8Array): AddressTraits {
  const { type } = fromBinary(AddressSchema, message);
  switch (type.case) {
    case "workload": {
      const { addresses, network, services, node } = type.value;
      const aliases = addresses.map((bytes) => networkAddressKey(network, ipFromBytes(bytes)));
      return { aliases, services: Object.keys(services), node };
    }
    case "service": {
      const { addresses, namespace, hostname } = type.value;
      const aliases = addresses.map(({ network, address, length }) => {
        const key = networkAddressKey(network, ipFromBytes(address));
        return length === undefined ? key : `${key}/${length}`;
      });
      return { aliases: aliases.filter((alias) => alias !== serviceKey(namespace, hostname)), services: [], node: "" };
    }
    default:
      return NO_TRAITS;
  }
}
