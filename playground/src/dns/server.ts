/** The cluster's DNS: knows the cluster's names and says at once that there are no others. */
import dgram from "node:dgram";
import net from "node:net";
import { type Answer, AUTHORITATIVE_ANSWER, decode, encode, type Packet, type Question } from "dns-packet";
import { isIpv4, parseIp } from "#lib/address.ts";
import type { Store } from "../api/store.ts";
import { CLUSTER_DOMAIN, lookupAddress, lookupName, reverseAddress } from "./records.ts";

const TTL_SECONDS = 5;
const NXDOMAIN = 3;
const FORMERR = 1;
/** What fits a UDP answer when the asker says nothing. */
const PLAIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;
/** Idle TCP connections end; each holds one query at most for long. */
const TCP_IDLE_MS = 10_000;

export class DnsServer {
  readonly #store: Store;
  readonly #closers: (() => void)[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  async listen(hosts: readonly string[], port: number): Promise<void> {
    await Promise.all(hosts.flatMap((host) => [this.#listenUdp(host, port), this.#listenTcp(host, port)]));
  }

  close(): void {
    for (const close of this.#closers) close();
  }

  #listenUdp(host: string, port: number): Promise<void> {
    const socket = dgram.createSocket(isIpv4(host) ? "udp4" : "udp6");
    this.#closers.push(() => socket.close());
    socket.on("message", (message, from) => {
      const answer = this.#answer(message, true);
      if (answer !== undefined) socket.send(answer, from.port, from.address);
    });
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, host, resolve);
    });
  }

  #listenTcp(host: string, port: number): Promise<void> {
    const server = net.createServer((socket) => {
      let pending = Buffer.alloc(0);
      socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
      socket.on("error", () => socket.destroy());
      socket.on("data", (data: Buffer) => {
        pending = Buffer.concat([pending, data]);
        while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
          const end = 2 + pending.readUInt16BE(0);
          const answer = this.#answer(pending.subarray(2, end), false);
          pending = pending.subarray(end);
          if (answer === undefined) return socket.destroy();
          const length = Buffer.alloc(2);
          length.writeUInt16BE(answer.length);
          socket.write(Buffer.concat([length, answer]));
        }
        return undefined;
      });
    });
    this.#closers.push(() => server.close());
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  }

  #answer(message: Buffer, isUdp: boolean): Buffer | undefined {
    let query: Packet;
    try {
      query = decode(message);
    } catch {
      // Too damaged to know whom to answer.
      return message.length < 12 ? undefined : failure(message.readUInt16BE(0), FORMERR);
    }
    const question = query.questions?.[0];
    if (query.type !== "query" || question === undefined) return undefined;
    const { rcode, answers, additionals } = this.#resolve(question);
    const soa = answers.length === 0 && isOurs(question.name.toLowerCase()) ? [authority()] : [];
    const packet: Packet = {
      type: "response",
      id: query.id ?? 0,
      flags: AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & 0x100) | rcode,
      questions: [question],
      answers,
      authorities: soa,
      additionals,
    };
    const full = encode(packet);
    const opt = query.additionals?.find((each) => each.type === "OPT");
    const asked = opt?.type === "OPT" ? opt.udpPayloadSize : PLAIN_UDP_BYTES;
    const limit = Math.min(Math.max(asked, PLAIN_UDP_BYTES), MAX_UDP_BYTES);
    if (!isUdp || full.length <= limit) return full;
    const TRUNCATED = 0x200;
    return encode({ ...packet, flags: (packet.flags ?? 0) | TRUNCATED, answers: [], additionals: [] });
  }

  #resolve(question: Question): { rcode: number; answers: Answer[]; additionals: Answer[] } {
    const name = question.name.toLowerCase().replace(/\.$/, "");
    const nothing = { answers: [], additionals: [] };
    const reverse = reverseAddress(name);
    if (reverse !== undefined) {
      const target = lookupAddress(this.#store, parseIp(reverse) ?? reverse);
      if (target === undefined) return { rcode: NXDOMAIN, ...nothing };
      const answers: Answer[] =
        question.type === "PTR" ? [{ type: "PTR", name: question.name, ttl: TTL_SECONDS, data: target }] : [];
      return { rcode: 0, answers, additionals: [] };
    }
    const records = isOurs(name) ? lookupName(this.#store, name) : undefined;
    if (records === undefined) return { rcode: NXDOMAIN, ...nothing };
    const base = { name: question.name, ttl: TTL_SECONDS };
    if (records.cname !== undefined) {
      const target = records.cname;
      const further = isOurs(target) ? lookupName(this.#store, target)?.addresses : undefined;
      const alias: Answer = { ...base, type: "CNAME", data: target };
      return { rcode: 0, answers: [alias, ...addresses(further ?? [], question.type, target)], additionals: [] };
    }
    if (question.type === "SRV") {
      const answers = records.srv.map(
        (each): Answer => ({
          ...base,
          type: "SRV",
          data: { port: each.port, target: each.target, priority: 0, weight: 100 },
        }),
      );
      const targets = [...new Set(records.srv.map((each) => each.target))];
      const additionals = targets.flatMap((target) => {
        const found = lookupName(this.#store, target)?.addresses ?? [];
        return [...addresses(found, "A", target), ...addresses(found, "AAAA", target)];
      });
      return { rcode: 0, answers, additionals };
    }
    return { rcode: 0, answers: addresses(shuffled(records.addresses), question.type, question.name), additionals: [] };
  }
}

function isOurs(name: string): boolean {
  return name === CLUSTER_DOMAIN || name.endsWith(`.${CLUSTER_DOMAIN}`);
}

function addresses(ips: readonly string[], type: string, name: string): Answer[] {
  const wanted = ips.filter((ip) => (type === "A" ? isIpv4(ip) : type === "AAAA" && !isIpv4(ip)));
  return wanted.map((data) => ({ type: isIpv4(data) ? "A" : "AAAA", name, ttl: TTL_SECONDS, data }) as Answer);
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item) => ({ item, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

/** Tells caches how long to remember that a name does not exist. */
function authority(): Answer {
  return {
    type: "SOA",
    name: CLUSTER_DOMAIN,
    ttl: TTL_SECONDS,
    data: {
      mname: `ns.dns.${CLUSTER_DOMAIN}`,
      rname: `hostmaster.${CLUSTER_DOMAIN}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: TTL_SECONDS,
    },
  };
}

function failure(id: number, rcode: number): Buffer {
  return encode({ type: "response", id, flags: rcode, questions: [], answers: [] });
}
