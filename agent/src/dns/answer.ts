/** Builds the answer to one DNS query from the mesh, or says that the mesh has none. */
import packet, { type Answer, type Packet, type Question } from "dns-packet";
import { isIpv4 } from "#lib/address.ts";
import type { MeshView } from "../state/mesh-state.ts";
import type { Service, Workload } from "../state/model.ts";
import { findService } from "./names.ts";

const TTL_SECONDS = 30;
/** What fits a UDP answer to a client that does not say otherwise. */
const CLASSIC_UDP_BYTES = 512;
/** More addresses than a client will try, and an answer that stays below the usual datagram. */
const MAX_ADDRESSES = 24;

export interface DnsClient {
  readonly namespace: string;
  /** Undefined: the control plane has not told of it yet. */
  readonly workload: Workload | undefined;
}

export interface AnswerOptions {
  readonly view: MeshView;
  readonly clusterDomain: string;
  readonly preferredNamespace?: string | undefined;
  readonly ipv6: boolean;
}

/** `forward`: not a name of the mesh, or a type that we do not hold. */
export type Verdict =
  | { readonly kind: "answer"; readonly bytes: Buffer; readonly type: string }
  | { readonly kind: "forward"; readonly type: string }
  | { readonly kind: "drop" };

export function answerQuery(query: Buffer, udp: boolean, client: DnsClient, options: AnswerOptions): Verdict {
  let request: Packet;
  try {
    request = packet.decode(query);
  } catch {
    return { kind: "drop" };
  }
  const question = request.questions?.[0];
  if (request.type !== "query" || question === undefined || request.questions?.length !== 1) return { kind: "drop" };
  const type = String(question.type);
  const opcode = ((query[2] ?? 0) >> 3) & 0xf;
  if (opcode !== 0) return { kind: "answer", type, bytes: respond(request, question, "NOTIMP", [], udp) };
  if (type !== "A" && type !== "AAAA") return { kind: "forward", type };
  if (client.workload === undefined) {
    return { kind: "answer", type, bytes: respond(request, question, "SERVFAIL", [], udp) };
  }
  const name = question.name.toLowerCase().replace(/\.$/, "");
  const found = findService(options.view, {
    name,
    clientNamespace: client.namespace,
    clusterDomain: options.clusterDomain,
    preferredNamespace: options.preferredNamespace,
  });
  if (found === undefined) return { kind: "forward", type };
  const owner = found.alias ?? question.name;
  const ips = addresses(found.service, client.workload, type, options);
  const answers: Answer[] = [];
  if (found.alias !== undefined && ips.length > 0) {
    answers.push({ type: "CNAME", name: question.name, ttl: TTL_SECONDS, data: found.alias });
  }
  for (const ip of ips) answers.push({ type, name: owner, ttl: TTL_SECONDS, data: ip });
  return { kind: "answer", type, bytes: respond(request, question, "NOERROR", answers, udp) };
}

/** An error without records, when nobody above answered. */
export function failure(query: Buffer): Buffer | undefined {
  if (query.length < 12) return undefined;
  const SERVFAIL = 2;
  const answer = Buffer.from(query);
  answer[2] = (answer[2] ?? 0) | 0x80;
  answer[3] = 0x80 | SERVFAIL;
  return answer;
}

function addresses(service: Service, client: Workload, type: "A" | "AAAA", options: AnswerOptions): string[] {
  const wanted = (ip: string) => isIpv4(ip) === (type === "A");
  if (type === "AAAA" && (!options.ipv6 || service.ipFamilies === "ipv4")) return [];
  if (type === "A" && service.ipFamilies === "ipv6") return [];
  const vips = service.vips
    .filter(({ network, length, ip }) => network === client.network && length === undefined && wanted(ip))
    .map(({ ip }) => ip);
  if (service.vips.length > 0) return shuffle(vips).slice(0, MAX_ADDRESSES);
  const found: string[] = [];
  for (const workload of options.view.workloads.members(service.key)) {
    if (workload.network !== client.network || (!workload.healthy && !service.allowUnhealthy)) continue;
    const ip = workload.ips.find(wanted);
    if (ip !== undefined) found.push(ip);
  }
  return shuffle(found).slice(0, MAX_ADDRESSES);
}

function respond(
  request: Packet,
  question: Question,
  rcode: "NOERROR" | "SERVFAIL" | "NOTIMP",
  answers: Answer[],
  udp: boolean,
): Buffer {
  const CODES = { NOERROR: 0, SERVFAIL: 2, NOTIMP: 4 };
  const asked = request.additionals?.find((record) => record.type === "OPT");
  const build = (records: Answer[], flags: number): Buffer =>
    packet.encode({
      type: "response",
      id: request.id ?? 0,
      flags: flags | ((request.flags ?? 0) & packet.RECURSION_DESIRED) | packet.RECURSION_AVAILABLE | CODES[rcode],
      questions: [question],
      answers: records,
      ...(asked === undefined ? {} : { additionals: [EDNS] }),
    });
  const authoritative = rcode === "NOERROR" ? packet.AUTHORITATIVE_ANSWER : 0;
  const whole = build(answers, authoritative);
  const limit = Math.max(CLASSIC_UDP_BYTES, asked?.type === "OPT" ? asked.udpPayloadSize : 0);
  if (!udp || whole.length <= limit) return whole;
  return build([], authoritative | packet.TRUNCATED_RESPONSE);
}

const EDNS: Answer = {
  type: "OPT",
  name: ".",
  udpPayloadSize: 1232,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

function shuffle(list: string[]): string[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const other = list[j] ?? "";
    list[j] = list[i] ?? "";
    list[i] = other;
  }
  return list;
}
