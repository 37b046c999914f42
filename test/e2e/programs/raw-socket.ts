/**
 * The addresses of a socket as the kernel's table has them. What an application is told (getpeername) is the mesh's to
 * choose; this is where the packets go.
 */
import { readFileSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";

export interface RawSocket {
  /** `ip port`, IPv4 dotted also in IPv6 sockets. */
  readonly local: string;
  readonly remote: string;
}

/** Undefined when the socket is gone. */
export function rawSocket(socket: Socket): RawSocket | undefined {
  const { fd } = (socket as Socket & { _handle: { fd: number } | null })._handle ?? { fd: -1 };
  if (fd < 0) return undefined;
  const inode = /\d+/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[0];
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/self/net/${table}`, "utf8").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[9] === inode) return { local: address(fields[1] ?? ""), remote: address(fields[2] ?? "") };
    }
  }
  return undefined;
}

/** `0100007F:1F90` or 32 digits: words in the machine's order, the port as it is written. */
function address(text: string): string {
  const [digits = "", port = ""] = text.split(":");
  const bytes = [...Buffer.from(digits, "hex").swap32()];
  return `${plain(bytes)} ${Number.parseInt(port, 16)}`;
}

function plain(bytes: readonly number[]): string {
  const last4 = bytes.slice(-4).join(".");
  if (bytes.length === 4) return last4;
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return isMapped ? last4 : canonical6(bytes);
}

/** As `URL` writes IPv6 addresses: lower case, the longest run of zeros left out. */
function canonical6(bytes: readonly number[]): string {
  const words = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}
