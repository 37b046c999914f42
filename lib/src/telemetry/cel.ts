/** CEL expressions of telemetry: filters of access logs, values of metric tags. Checked for names and types at once. */
import { type ASTNode, Environment, type ParseResult } from "@marcbachmann/cel-js";
import {
  ATTRIBUTES,
  type AttributeName,
  type AttributeSource,
  type AttributeValue,
  SERIES_ATTRIBUTES,
} from "./attributes.ts";
import { type HeaderNames, RECORDED_REQUEST_HEADERS, RECORDED_RESPONSE_HEADERS } from "./format.ts";

const MAX_EXPRESSION_CHARACTERS = 4096;
const LIMITS = { maxAstNodes: 1000, maxDepth: 32, maxListElements: 256, maxMapEntries: 64, maxCallArguments: 16 };

/** An expression that cannot be used, with the reason. */
export class CelError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CelError";
  }
}

export interface CelExpression {
  readonly text: string;
  /** `bool`, `string`, ... as far as it is known before there is a request. */
  readonly type: string;
  /** What it reads, such as `response.code`. */
  readonly attributes: readonly string[];
  /** Headers that it reads by a name that stands in it. */
  readonly headers: HeaderNames;
  /** Undefined when it cannot be worked out: an attribute is missing, a division by zero. */
  evaluate(source: AttributeSource): unknown;
}

type Context = Record<string, object>;

/** One class per root, so that attributes are worked out when an expression asks for them and not before. */
const ROOTS = Object.entries(ATTRIBUTES).map(([root, fields]) => {
  const ctor = class {
    readonly source: AttributeSource;
    constructor(source: AttributeSource) {
      this.source = source;
    }
  };
  for (const field of Object.keys(fields)) {
    const name = `${root}.${field}` as AttributeName;
    Object.defineProperty(ctor.prototype, field, {
      get(this: { source: AttributeSource }): AttributeValue | undefined {
        return this.source.attribute(name);
      },
    });
  }
  return { root, fields, ctor, typeName: `Weft_${root}` };
});

const ENVIRONMENT = ROOTS.reduce(
  (environment, { root, fields, ctor, typeName }) =>
    environment.registerType(typeName, { ctor, fields: { ...fields } }).registerVariable(root, typeName),
  new Environment({ limits: LIMITS }),
);

/** Throws CelError. */
export function compileCel(text: string): CelExpression {
  if (text.length > MAX_EXPRESSION_CHARACTERS) {
    throw new CelError(`the expression has more than ${MAX_EXPRESSION_CHARACTERS} characters`);
  }
  let parsed: ParseResult;
  try {
    parsed = ENVIRONMENT.parse(text);
  } catch (error) {
    throw new CelError(firstLine(error));
  }
  const checked = parsed.check();
  if (!checked.valid) throw new CelError(firstLine(checked.error));
  const reads = new Reads();
  reads.walk(parsed.ast);
  return {
    text,
    type: String(checked.type ?? "dyn"),
    attributes: [...reads.attributes].sort(),
    headers: {
      request: recorded(reads.request, RECORDED_REQUEST_HEADERS),
      response: recorded(reads.response, RECORDED_RESPONSE_HEADERS),
    },
    evaluate(source) {
      const context: Context = {};
      for (const { root, ctor } of ROOTS) if (reads.roots.has(root)) context[root] = new ctor(source);
      try {
        return parsed(context) as unknown;
      } catch {
        // Envoy too takes an expression that fails for one without a value.
        return undefined;
      }
    },
  };
}

/** A filter must say yes or no. Throws CelError. */
export function compileFilter(text: string): CelExpression {
  const expression = compileCel(text);
  if (expression.type !== "bool" && expression.type !== "dyn") {
    throw new CelError(`a filter must give a bool, and this gives ${expression.type}`);
  }
  return expression;
}

/** Whether a tag of this expression can only be had from each request: no series of the engine knows what it reads. */
export function needsRequests(expression: Pick<CelExpression, "attributes">): boolean {
  return expression.attributes.some((name) => !SERIES_ATTRIBUTES.has(name));
}

function recorded(names: ReadonlySet<string>, always: readonly string[]): string[] {
  return [...names].filter((name) => !always.includes(name)).sort();
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0] ?? message;
}

/** Finds what an expression reads. */
class Reads {
  readonly roots = new Set<string>();
  readonly attributes = new Set<string>();
  readonly request = new Set<string>();
  readonly response = new Set<string>();

  walk(node: ASTNode): void {
    if (node.op === "id") this.roots.add(node.args);
    if ((node.op === "." || node.op === ".?") && node.args[0].op === "id") {
      this.attributes.add(`${node.args[0].args}.${node.args[1]}`);
    }
    if (node.op === "[]" || node.op === "[?]") this.#header(node.args[0], node.args[1]);
    if (node.op === "in") this.#header(node.args[1], node.args[0]);
    for (const child of childrenOf(node.args)) this.walk(child);
  }

  #header(map: ASTNode, name: ASTNode): void {
    if (name.op !== "value" || typeof name.args !== "string") return;
    if (map.op !== "." || map.args[1] !== "headers" || map.args[0].op !== "id") return;
    const root = map.args[0].args;
    if (root === "request") this.request.add(name.args.toLowerCase());
    if (root === "response") this.response.add(name.args.toLowerCase());
  }
}

function* childrenOf(args: unknown): Generator<ASTNode> {
  if (Array.isArray(args)) for (const item of args) yield* childrenOf(item);
  else if (typeof args === "object" && args !== null && "op" in args && "args" in args) yield args as ASTNode;
}
