/** Peers that are not who they must be. TLS 1.3 clients learn of the refusal after their own handshake is done. */
import { expect } from "vitest";
import { RawH2, type RawOptions } from "../../helpers/h2-raw.ts";
import { identityOf } from "../../helpers/mesh-bed.ts";
import { type IssueOptions, TestCa } from "../../helpers/pki.ts";
import { type Arena, ECHO_PORT, type Threat } from "./threat.ts";

const DAY_MS = 86_400_000;
const MEMBER = identityOf("member");

export const certificateThreats: readonly Threat[] = [
  refused("no certificate at all", ({ host }) => ({ host })),
  issued("a certificate that has expired", { notBeforeMs: -2 * DAY_MS, notAfterMs: -DAY_MS }),
  issued("a certificate that is not valid yet", { notBeforeMs: DAY_MS, notAfterMs: 2 * DAY_MS }),
  issued("an identity of another trust domain", { uris: ["spiffe://evil.example/ns/default/sa/member"] }),
  issued("an identity of a trust domain that starts like ours", {
    uris: ["spiffe://cluster.local.evil/ns/default/sa/member"],
  }),
  issued("no URI name", { uris: [], dnsNames: ["member.default"] }),
  issued("a SPIFFE id as DNS name", { uris: [], dnsNames: ["spiffe://cluster.local/ns/default/sa/member"] }),
  issued("a URI name of another scheme", { uris: ["https://cluster.local/ns/default/sa/member"] }),
  issued("a NUL in the URI name", { uris: [`${MEMBER}\0.evil`] }),
  issued("a wildcard in the URI name", { uris: ["spiffe://cluster.local/ns/*/sa/*"] }),
  issued("a URI name with more segments", { uris: [`${MEMBER}/more`] }),
  issued("two SPIFFE ids", { uris: [MEMBER, identityOf("other")] }),
  issued("a certificate for servers only", { usages: ["server"] }),
  refused("a certificate of a CA that nobody trusts", async (options) => ({
    ...options,
    svid: await (await TestCa.create("other root")).issue(MEMBER),
  })),
  refused("a self-made intermediate", async (options, arena) => {
    // A leaf of the mesh signs another leaf: its certificate is no CA's.
    const forged = await (await TestCa.create("forger")).issue(MEMBER);
    return { ...options, svid: { ...forged, chain: forged.chain + arena.member.chain } };
  }),
  refused("TLS 1.2", (options) => ({
    ...options,
    tls: { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" },
  })),
  refused("ALPN without h2", (options) => ({ ...options, alpn: ["http/1.1"] })),
];

type Change = (options: RawOptions, arena: Arena) => RawOptions | Promise<RawOptions>;

function issued(name: string, options: IssueOptions): Threat {
  return refused(name, async (raw, arena) => ({ ...raw, svid: await arena.mesh.ca.issue(MEMBER, options) }));
}

/** The connection dies, in the handshake or right after it, and a CONNECT on it is never answered. */
function refused(name: string, change: Change): Threat {
  return {
    class: "Certificates",
    name,
    counted: ["tls_failure", "identity_error"],
    attack: async (arena) => {
      const options = await change({ host: arena.victim.ip, svid: arena.member }, arena);
      const raw = await RawH2.connect(options).catch(() => undefined);
      if (raw === undefined) return;
      raw.connectTo(`${arena.victim.ip}:${ECHO_PORT}`);
      await raw.untilClosed();
      expect(raw.frames, "frames for a peer that must not get past TLS").toEqual([]);
    },
  };
}
