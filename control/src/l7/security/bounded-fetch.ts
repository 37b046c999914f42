/**
 * Gets a small document from a server that nobody vouches for: by http(s) only, in bounded time, of bounded size, with few
 * redirects, and never from addresses that only the control plane itself should reach.
 */
import { lookup as dnsLookup } from "node:dns";
import http from "node:http";
import https from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { parseCidr } from "#lib/address.ts";

export interface FetchLimits {
  /** For all of it, redirects included. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly maxRedirects: number;
  readonly blocked: BlockList;
  /** Certificates to trust beside the system's, PEM. */
  readonly ca?: readonly string[];
}

/** Where a control plane's own machine, or its cloud's metadata, would answer. */
export const DEFAULT_BLOCKED_CIDRS = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "::/128",
  "::1/128",
  "fe80::/10",
  "ff00::/8",
  "fd00:ec2::254/128",
];

/** Throws on a text that is no CIDR. */
export function blockListOf(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of cidrs) {
    const range = parseCidr(text);
    if (range === undefined) throw new TypeError(`"${text}" is no CIDR`);
    list.addSubnet(range.ip, range.length, range.ip.includes(":") ? "ipv6" : "ipv4");
  }
  return list;
}

/** The body as text. Rejects with a message that says what was wrong. */
export async function boundedFetch(address: string, limits: FetchLimits, signal: AbortSignal): Promise<string> {
  const timeout = AbortSignal.timeout(limits.timeoutMs);
  const either = AbortSignal.any([signal, timeout]);
  let url = parseUrl(address);
  try {
    for (let redirects = 0; ; redirects++) {
      const answer = await request(url, limits, either);
      if (answer.location === undefined) return answer.body;
      if (redirects >= limits.maxRedirects) throw new Error(`more than ${limits.maxRedirects} redirects`);
      const next = parseUrl(new URL(answer.location, url).href);
      if (url.protocol === "https:" && next.protocol === "http:") throw new Error("redirected from https to http");
      url = next;
    }
  } catch (error) {
    if (timeout.aborted) throw new Error(`no answer within ${limits.timeoutMs} ms`, { cause: error });
    throw error;
  }
}

function parseUrl(text: string): URL {
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`${url.protocol} is not possible`);
  if (url.username !== "" || url.password !== "") throw new Error("credentials in an address are not possible");
  return url;
}

type Answer =
  | { readonly location: string; readonly body?: undefined }
  | { readonly location?: undefined; readonly body: string };

async function request(url: URL, limits: FetchLimits, signal: AbortSignal): Promise<Answer> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) refuseBlocked(host, limits.blocked);
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const transport = url.protocol === "http:" ? http : https;
    const outgoing = transport.get(url, {
      signal,
      // Not the shared agent: a server must not keep connections of ours open.
      agent: false,
      lookup: guardedLookup(limits.blocked),
      headers: { accept: "application/json", "user-agent": "weft-control" },
      ...(limits.ca === undefined ? {} : { ca: [...limits.ca] }),
    });
    outgoing.on("response", resolve);
    outgoing.on("error", reject);
  });
  try {
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if ([301, 302, 303, 307, 308].includes(status) && location !== undefined) return { location };
    if (status !== 200) throw new Error(`status ${status}`);
    return { body: await boundedText(response, limits.maxBytes) };
  } finally {
    response.destroy();
  }
}

async function boundedText(response: http.IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes) throw new Error(`more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts, size));
}

/** Checks the addresses that the connection is really made to: what a name means can change between two looks. */
function guardedLookup(blocked: BlockList): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, "", 0);
      try {
        for (const { address } of addresses) refuseBlocked(address, blocked);
      } catch (refusal) {
        return callback(refusal as NodeJS.ErrnoException, "", 0);
      }
      if (options.all === true) return callback(null, addresses);
      const [first] = addresses;
      return first === undefined
        ? callback(new Error(`${hostname} has no address`), "", 0)
        : callback(null, first.address, first.family);
    });
  };
}

function refuseBlocked(address: string, blocked: BlockList): void {
  // An IPv4 address in IPv6's clothes is the IPv4 address.
  const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (blocked.check(plain, isIP(plain) === 6 ? "ipv6" : "ipv4")) throw new Error(`address ${plain} is not allowed`);
}
