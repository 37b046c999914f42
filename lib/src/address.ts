/** IP addresses as canonical text: IPv4 dotted, IPv6 compressed lower case, never v4-mapped. */
import ipaddr from "ipaddr.js";

/** Canonical text of 4 or 16 raw bytes. Throws on any other length. */
export function ipFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  }
  return canonical(ipaddr.fromByteArray(Array.from(bytes)));
}

/** Raw bytes (4 or 16) of a textual address. Throws when it is none. */
export function ipToBytes(text: string): Uint8Array {
  return Uint8Array.from(ipaddr.process(text).toByteArray());
}

/** Canonical text, or undefined when `text` is no IP address (zone ids are not accepted). */
export function parseIp(text: string): string | undefined {
  if (text.includes("%") || !(ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text))) return undefined;
  return canonical(ipaddr.parse(text));
}

export function isIpv4(ip: string): boolean {
  return !ip.includes(":");
}

/** `1.2.3.4:80` or `[::1]:80`. */
export function joinHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `network/ip`, the key under which workloads and services are found by address. */
export function networkAddressKey(network: string, ip: string): string {
  return `${network}/${ip}`;
}

/** An IP or CIDR as text, or undefined when it is neither. A bare IP is a host route. */
export function parseCidr(text: string): { ip: string; length: number } | undefined {
  const [host = "", bits, ...rest] = text.split("/");
  const ip = parseIp(host);
  if (ip === undefined || rest.length > 0) return undefined;
  const max = isIpv4(ip) ? 32 : 128;
  if (bits === undefined) return { ip, length: max };
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > max) return undefined;
  return { ip, length: Number(bits) };
}

/** A range holds addresses of its own family only: not even `::/0` an IPv4 one. */
export function cidrContains(range: { readonly ip: string; readonly length: number }, ip: string): boolean {
  if (isIpv4(range.ip) !== isIpv4(ip)) return false;
  const [base, bytes] = [ipToBytes(range.ip), ipToBytes(ip)];
  return bytes.every((byte, i) => {
    const bits = Math.min(8, Math.max(0, range.length - i * 8));
    return bits === 0 || (byte ^ (base[i] ?? 0)) >> (8 - bits) === 0;
  });
}

function canonical(ip: ipaddr.IPv4 | ipaddr.IPv6): string {
  if (ip instanceof ipaddr.IPv6 && ip.isIPv4MappedAddress()) return ip.toIPv4Address().toString();
  return ip instanceof ipaddr.IPv6 ? ip.toRFC5952String() : ip.toString();
}
