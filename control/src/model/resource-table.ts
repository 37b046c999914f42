/** The resources of one type as they go over the wire, encoded once for all subscribers. */
import { hash } from "node:crypto";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { TypeUrl } from "#lib/xds/types.ts";

export interface Resource {
  readonly name: string;
  /** Changes with the content; empty where the type is not versioned. */
  readonly version: string;
  /** One `resources` field of a response, tag and length included. */
  readonly encoded: Uint8Array;
  /** The message alone: the tail of `encoded`. */
  readonly message: Uint8Array;
}

/** What a flush changed. */
export interface TableChange {
  /** Names of resources that were added or differ now. */
  readonly changed: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
}

/** Field numbers of DeltaDiscoveryResponse, Resource and Any. */
const RESPONSE_RESOURCES = 2;
const RESOURCE_VERSION = 1;
const RESOURCE_ANY = 2;
const RESOURCE_NAME = 3;
const RESOURCE_ALIASES = 4;
const ANY_TYPE_URL = 1;
const ANY_VALUE = 2;

/** Enough that two contents of one name do not meet by chance. */
const VERSION_HEX_DIGITS = 16;

const NOTHING: ReadonlySet<string> = new Set();

export class ResourceTable {
  readonly typeUrl: TypeUrl;
  readonly #versioned: boolean;
  readonly #resources = new Map<string, Resource>();
  #changed = new Set<string>();
  #removed = new Set<string>();
  #revision = 0;

  constructor(typeUrl: TypeUrl, options: { readonly versioned: boolean }) {
    this.typeUrl = typeUrl;
    this.#versioned = options.versioned;
  }

  get size(): number {
    return this.#resources.size;
  }

  /** Another number after every change. */
  get revision(): number {
    return this.#revision;
  }

  get(name: string): Resource | undefined {
    return this.#resources.get(name);
  }

  names(): IterableIterator<string> {
    return this.#resources.keys();
  }

  values(): IterableIterator<Resource> {
    return this.#resources.values();
  }

  /** Stores the encoded message; nothing changes when it is the same as before. */
  set(name: string, message: Uint8Array): void {
    const before = this.#resources.get(name);
    if (before !== undefined && Buffer.compare(before.message, message) === 0) return;
    const version = this.#versioned ? hash("sha1", message, "hex").slice(0, VERSION_HEX_DIGITS) : "";
    // Out of Node's pool: an array buffer for each of 100,000 resources costs more than the resources.
    const encoded = Buffer.from(encodeResource(this.typeUrl, name, version, [], message));
    this.#resources.set(name, { name, version, encoded, message: encoded.subarray(encoded.length - message.length) });
    this.#changed.add(name);
    this.#removed.delete(name);
    this.#revision++;
  }

  delete(name: string): void {
    if (!this.#resources.delete(name)) return;
    this.#removed.add(name);
    this.#changed.delete(name);
    this.#revision++;
  }

  /** What happened since the last call. */
  takeChange(): TableChange {
    const change = { changed: this.#changed, removed: this.#removed };
    this.#changed = new Set();
    this.#removed = new Set();
    return change;
  }

  /** The same without what was removed, which stays to be taken. */
  takeAdditions(): TableChange {
    const change = { changed: this.#changed, removed: NOTHING };
    this.#changed = new Set();
    return change;
  }
}

/** The `resources` field of a response. The message comes last, so that it is the tail. */
export function encodeResource(
  typeUrl: string,
  name: string,
  version: string,
  aliases: readonly string[],
  message: Uint8Array,
): Uint8Array {
  const writer = new BinaryWriter().tag(RESPONSE_RESOURCES, WireType.LengthDelimited).fork();
  if (version !== "") writer.tag(RESOURCE_VERSION, WireType.LengthDelimited).string(version);
  writer.tag(RESOURCE_NAME, WireType.LengthDelimited).string(name);
  for (const alias of aliases) writer.tag(RESOURCE_ALIASES, WireType.LengthDelimited).string(alias);
  return writer
    .tag(RESOURCE_ANY, WireType.LengthDelimited)
    .fork()
    .tag(ANY_TYPE_URL, WireType.LengthDelimited)
    .string(typeUrl)
    .tag(ANY_VALUE, WireType.LengthDelimited)
    .bytes(message)
    .join()
    .join()
    .finish();
}
