/** Reads the spec of an Istio object field by field and notes everything that is not as it should be. */

/** One thing that is wrong with an object. */
export interface Problem {
  /** Such as `spec.rules[0].from[1].source.ipBlocks[0]`. */
  readonly field: string;
  readonly reason: string;
  /** It makes sense, and another mesh may do it; here it is not done. */
  readonly unsupported?: true;
}

export class Fields {
  readonly path: string;
  readonly #value: Record<string, unknown>;
  readonly #problems: Problem[];
  readonly #read = new Set<string>();

  constructor(value: unknown, path: string, problems: Problem[]) {
    this.path = path;
    this.#problems = problems;
    if (value === undefined || value === null) {
      this.#value = {};
    } else if (typeof value === "object" && !Array.isArray(value)) {
      this.#value = value as Record<string, unknown>;
    } else {
      this.#value = {};
      this.problem("", "must be an object");
    }
  }

  /** Notes a problem of the field `name`, or of the whole object when empty. */
  problem(name: string, reason: string): void {
    this.#problems.push({ field: name === "" ? this.path : `${this.path}.${name}`, reason });
  }

  /** Notes something that makes sense and is not done here. */
  unsupported(name: string, reason: string): void {
    this.#problems.push({ field: `${this.path}.${name}`, reason, unsupported: true });
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  raw(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#value, name) ? (this.#value[name] ?? undefined) : undefined;
  }

  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "string") return value;
    this.problem(name, "must be a string");
    return undefined;
  }

  /** Values that are no strings are noted and left out. */
  strings(name: string): string[] {
    return this.list(name).filter((value, index): value is string => {
      if (typeof value === "string") return true;
      this.problem(`${name}[${index}]`, "must be a string");
      return false;
    });
  }

  integer(name: string, least: number, most: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    this.problem(name, `must be a whole number from ${least} to ${most}`);
    return undefined;
  }

  number(name: string, least: number, most: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && value >= least && value <= most) return value;
    this.problem(name, `must be a number from ${least} to ${most}`);
    return undefined;
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "boolean") return value;
    this.problem(name, "must be true or false");
    return undefined;
  }

  oneOf<const T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) this.problem(name, `must be one of ${allowed.join(", ")}`);
    return found;
  }

  object(name: string): Fields | undefined {
    return this.has(name) ? new Fields(this.#value[name], `${this.path}.${name}`, this.#problems) : undefined;
  }

  objects(name: string): Fields[] {
    return this.list(name).map((value, index) => new Fields(value, `${this.path}.${name}[${index}]`, this.#problems));
  }

  list(name: string): readonly unknown[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.problem(name, "must be a list");
    return [];
  }

  /** One entry of the list `name`: for lists of which only a few entries are to be read. */
  entry(name: string, index: number): Fields {
    return new Fields(this.list(name)[index], `${this.path}.${name}[${index}]`, this.#problems);
  }

  /** A map of strings; other values are noted and left out. */
  map(name: string): Record<string, string> {
    // Without a prototype, so that no key of a user finds a member of Object.
    const result: Record<string, string> = Object.create(null);
    const fields = this.object(name);
    for (const key of fields?.names() ?? []) {
      const value = fields?.string(key);
      if (value !== undefined) result[key] = value;
    }
    return result;
  }

  names(): string[] {
    return Object.keys(this.#value);
  }

  /** Notes each field that nobody asked for. Returns whether there was one. */
  refuseUnknown(): boolean {
    const unknown = this.names().filter((name) => !this.#read.has(name));
    for (const name of unknown) this.problem(name, "unknown field");
    return unknown.length > 0;
  }
}

export function describeProblems(problems: readonly Problem[]): string {
  return problems.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
}
