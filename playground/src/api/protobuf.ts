/**
 * Reads the objects that kubectl's own sub-commands send as protobuf (`create namespace`, `auth can-i`, `drain` …) and
 * that it can send in no other way. Field numbers are those of Kubernetes' generated.proto files. Answers are JSON.
 */
import { ApiError, badRequest } from "./errors.ts";
import type { JsonRecord } from "./objects.ts";

type Scalar = "string" | "int" | "bool" | "bytes" | "time" | "intOrString" | "quantity";
interface Field {
  readonly name: string;
  readonly type: Scalar | Message;
  readonly repeated?: boolean;
  /** A map from text to text or bytes. */
  readonly map?: boolean;
}
/** Fields by number. */
type Message = { readonly [number: number]: Field };

const text = (name: string): Field => ({ name, type: "string" });
const texts = (name: string): Field => ({ name, type: "string", repeated: true });
const int = (name: string): Field => ({ name, type: "int" });
const bool = (name: string): Field => ({ name, type: "bool" });
const map = (name: string, type: "string" | "bytes" | "quantity" = "string"): Field => ({ name, type, map: true });
const one = (name: string, type: Scalar | Message): Field => ({ name, type });
const many = (name: string, type: Message): Field => ({ name, type, repeated: true });

const OWNER: Message = {
  1: text("kind"),
  3: text("name"),
  4: text("uid"),
  5: text("apiVersion"),
  6: bool("controller"),
  7: bool("blockOwnerDeletion"),
};
const META: Message = {
  1: text("name"),
  2: text("generateName"),
  3: text("namespace"),
  5: text("uid"),
  6: text("resourceVersion"),
  7: int("generation"),
  8: one("creationTimestamp", "time"),
  11: map("labels"),
  12: map("annotations"),
  13: many("ownerReferences", OWNER),
  14: texts("finalizers"),
};
const metadata = one("metadata", META);
const ATTRIBUTES: Message = {
  1: text("namespace"),
  2: text("verb"),
  3: text("group"),
  4: text("version"),
  5: text("resource"),
  6: text("subresource"),
  7: text("name"),
};
const PATH_ATTRIBUTES: Message = { 1: text("path"), 2: text("verb") };
const ACCESS_SPEC: Message = {
  1: one("resourceAttributes", ATTRIBUTES),
  2: one("nonResourceAttributes", PATH_ATTRIBUTES),
  3: text("user"),
  4: texts("groups"),
  6: text("uid"),
};
const ACCESS_REVIEW: Message = { 1: metadata, 2: one("spec", ACCESS_SPEC), 3: one("status", { 1: bool("allowed") }) };
const RULE: Message = {
  1: texts("verbs"),
  2: texts("apiGroups"),
  3: texts("resources"),
  4: texts("resourceNames"),
  5: texts("nonResourceURLs"),
};
const SUBJECT: Message = { 1: text("kind"), 2: text("apiGroup"), 3: text("name"), 4: text("namespace") };
const ROLE: Message = { 1: metadata, 2: many("rules", RULE) };
const BINDING: Message = {
  1: metadata,
  2: many("subjects", SUBJECT),
  3: one("roleRef", { 1: text("apiGroup"), 2: text("kind"), 3: text("name") }),
};
const SELECTOR: Message = {
  1: map("matchLabels"),
  2: many("matchExpressions", { 1: text("key"), 2: text("operator"), 3: texts("values") }),
};
const CONTAINER: Message = {
  1: text("name"),
  2: text("image"),
  3: texts("command"),
  4: texts("args"),
  5: text("workingDir"),
  6: many("ports", { 1: text("name"), 3: int("containerPort"), 4: text("protocol") }),
  7: many("env", { 1: text("name"), 2: text("value") }),
  8: one("resources", { 1: map("limits", "quantity"), 2: map("requests", "quantity") }),
  14: text("imagePullPolicy"),
  16: bool("stdin"),
  18: bool("tty"),
};
const POD_SPEC: Message = {
  2: many("containers", CONTAINER),
  3: text("restartPolicy"),
  4: int("terminationGracePeriodSeconds"),
  6: text("dnsPolicy"),
  7: map("nodeSelector"),
  8: text("serviceAccountName"),
  9: text("serviceAccount"),
  10: text("nodeName"),
  11: bool("hostNetwork"),
  14: one("securityContext", {}),
  19: text("schedulerName"),
};
const SERVICE_SPEC: Message = {
  1: many("ports", {
    1: text("name"),
    2: text("protocol"),
    3: int("port"),
    4: one("targetPort", "intOrString"),
    5: int("nodePort"),
    6: text("appProtocol"),
  }),
  2: map("selector"),
  3: text("clusterIP"),
  4: text("type"),
  5: texts("externalIPs"),
  7: text("sessionAffinity"),
  10: text("externalName"),
  13: bool("publishNotReadyAddresses"),
  17: text("ipFamilyPolicy"),
  18: texts("clusterIPs"),
  19: texts("ipFamilies"),
  22: text("internalTrafficPolicy"),
};
const DEPLOYMENT_SPEC: Message = {
  1: int("replicas"),
  2: one("selector", SELECTOR),
  3: one("template", { 1: metadata, 2: one("spec", POD_SPEC) }),
  4: one("strategy", { 1: text("type") }),
  5: int("minReadySeconds"),
  6: int("revisionHistoryLimit"),
};
const DELETE_OPTIONS: Message = {
  1: int("gracePeriodSeconds"),
  2: one("preconditions", { 1: text("uid"), 2: text("resourceVersion") }),
  3: bool("orphanDependents"),
  4: text("propagationPolicy"),
  5: texts("dryRun"),
};
const TOKEN_SPEC: Message = {
  1: texts("audiences"),
  3: one("boundObjectRef", { 1: text("kind"), 2: text("apiVersion"), 3: text("name"), 4: text("uid") }),
  4: int("expirationSeconds"),
};

/** Statuses come along empty; nothing in them is the client's to say. */
const STATUS = one("status", {});

const KINDS: Readonly<Record<string, Message>> = {
  Namespace: { 1: metadata, 2: one("spec", { 1: texts("finalizers") }), 3: STATUS },
  ConfigMap: { 1: metadata, 2: map("data"), 3: map("binaryData", "bytes"), 4: bool("immutable") },
  Secret: { 1: metadata, 2: map("data", "bytes"), 3: text("type"), 4: map("stringData"), 5: bool("immutable") },
  ServiceAccount: { 1: metadata, 4: bool("automountServiceAccountToken") },
  Service: { 1: metadata, 2: one("spec", SERVICE_SPEC), 3: STATUS },
  Pod: { 1: metadata, 2: one("spec", POD_SPEC), 3: STATUS },
  Deployment: { 1: metadata, 2: one("spec", DEPLOYMENT_SPEC), 3: STATUS },
  Role: ROLE,
  ClusterRole: ROLE,
  RoleBinding: BINDING,
  ClusterRoleBinding: BINDING,
  SelfSubjectAccessReview: ACCESS_REVIEW,
  SubjectAccessReview: ACCESS_REVIEW,
  LocalSubjectAccessReview: ACCESS_REVIEW,
  SelfSubjectReview: { 1: metadata, 2: STATUS },
  TokenRequest: { 1: metadata, 2: one("spec", TOKEN_SPEC), 3: STATUS },
  Eviction: { 1: metadata, 2: one("deleteOptions", DELETE_OPTIONS) },
  DeleteOptions: DELETE_OPTIONS,
};

const MAGIC = Buffer.from("k8s\0");
const ENVELOPE: Message = {
  1: one("typeMeta", { 1: text("apiVersion"), 2: text("kind") }),
  2: one("raw", "bytes"),
  3: text("contentEncoding"),
  4: text("contentType"),
};

/** Throws 415 for a kind or field that is not in the tables above. */
export function decodeProtobuf(body: Buffer): JsonRecord {
  if (!body.subarray(0, 4).equals(MAGIC)) throw badRequest("the body is no protobuf object of Kubernetes");
  const { typeMeta, raw } = decodeMessage(body.subarray(4), ENVELOPE, "body") as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: string;
  };
  const kind = typeMeta?.kind ?? "";
  const message = KINDS[kind];
  if (message === undefined) throw unsupported(`a ${kind}`);
  return { apiVersion: typeMeta?.apiVersion, kind, ...decodeMessage(Buffer.from(raw ?? "", "base64"), message, kind) };
}

function unsupported(what: string): ApiError {
  const hint = "write it as YAML and use kubectl apply";
  return new ApiError(415, "UnsupportedMediaType", `the playground does not read ${what} as protobuf; ${hint}`);
}

class Reader {
  readonly #data: Buffer;
  #at = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#data.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#data[this.#at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw badRequest("the protobuf body is damaged");
  }

  bytes(): Buffer {
    const length = Number(this.varint());
    if (this.#at + length > this.#data.length) throw badRequest("the protobuf body is damaged");
    const part = this.#data.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }
}

const VARINT = 0;
const LENGTH_DELIMITED = 2;

function decodeMessage(data: Buffer, message: Message, path: string): JsonRecord {
  const reader = new Reader(data);
  const result: JsonRecord = {};
  while (!reader.isAtEnd) {
    const tag = Number(reader.varint());
    const wire = tag & 7;
    if (wire !== VARINT && wire !== LENGTH_DELIMITED) throw badRequest("the protobuf body is damaged");
    const value = wire === VARINT ? reader.varint() : reader.bytes();
    const field = message[tag >> 3];
    if (field === undefined) {
      // Empty parts are written even when nobody has set them.
      if (value === 0n || (typeof value !== "bigint" && value.length === 0) || message === STATUS.type) continue;
      throw unsupported(`field ${tag >> 3} of ${path}`);
    }
    store(result, field, value, `${path}.${field.name}`);
  }
  return result;
}

function store(result: JsonRecord, field: Field, value: bigint | Buffer, path: string): void {
  const { name, type } = field;
  if (field.map === true && typeof value !== "bigint") {
    const entry = decodeMessage(value, { 1: text("key"), 2: one("value", type) }, path);
    const entries = (result[name] ?? {}) as JsonRecord;
    entries[String(entry.key ?? "")] = entry.value ?? "";
    result[name] = entries;
    return;
  }
  const decoded = decodeValue(type, value, path);
  // An empty text and an unset one look the same; optional fields mean unset.
  if (decoded === undefined || (decoded === "" && field.repeated !== true)) return;
  if (field.repeated === true) result[name] = [...((result[name] as unknown[] | undefined) ?? []), decoded];
  else result[name] = decoded;
}

function decodeValue(type: Scalar | Message, value: bigint | Buffer, path: string): unknown {
  if (typeof value === "bigint") return type === "bool" ? value !== 0n : Number(BigInt.asIntN(64, value));
  switch (type) {
    case "string":
      return value.toString("utf8");
    case "bytes":
      return value.toString("base64");
    case "quantity":
      return decodeMessage(value, { 1: text("string") }, path).string ?? "0";
    case "time": {
      const { seconds } = decodeMessage(value, { 1: int("seconds"), 2: int("nanos") }, path);
      return seconds === undefined ? undefined : new Date(Number(seconds) * 1000).toISOString();
    }
    case "intOrString": {
      const {
        type: kind,
        number,
        string,
      } = decodeMessage(value, { 1: int("type"), 2: int("number"), 3: text("string") }, path);
      return kind === 1 ? string : (number ?? 0);
    }
    case "int":
    case "bool":
      throw badRequest("the protobuf body is damaged");
    default:
      return decodeMessage(value, type, path);
  }
}
