/** gRPC channels to the control plane: TLS 1.3, the mesh's root, a bearer token with every request. */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext, rootCertificates } from "node:tls";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { joinHostPort } from "#lib/address.ts";
import { MAX_MESSAGE_BYTES } from "#lib/xds/types.ts";
import type { PeerConfig, RootSource, TokenSource } from "./peer.ts";

const CIPHERS = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
/** Sent when the server is known by address only; what the certificate must carry is checked apart from it. */
const NAME_FOR_ADDRESS = "istiod";
const KEEPALIVE_TIME_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

/** A message as bytes: encoding is the caller's. */
export const identityCodec = {
  serialize: (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  deserialize: (bytes: Buffer): Buffer => bytes,
};

/** Opens a channel; the root certificate is read now, so that a new one needs no restart. */
export async function openChannel(peer: PeerConfig): Promise<Client> {
  const url = new URL(peer.address);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const context = createSecureContext({
    ca: await rootPem(peer.root),
    minVersion: "TLSv1.3",
    ciphers: CIPHERS,
  });
  const tls = credentials.createFromSecureContext(context, {
    checkServerIdentity: (_name, certificate) => {
      const error = checkServerIdentity(host, certificate);
      if (error === undefined || peer.alternativeHost === undefined) return error;
      return checkServerIdentity(peer.alternativeHost, certificate);
    },
  });
  return new Client(`dns:${joinHostPort(host, Number(url.port || 443))}`, tls, {
    // TLS names no server by its address; without this grpc-js would try to.
    ...(isIP(host) === 0 ? {} : { "grpc.ssl_target_name_override": peer.alternativeHost ?? NAME_FOR_ADDRESS }),
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": KEEPALIVE_TIME_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_retries": 0,
    // Reconnecting is the business of whoever uses the channel; this is only the pace below it.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5000,
  });
}

/** Metadata of one request. The token file is read each time, since the kubelet replaces it. */
export async function requestMetadata(token: TokenSource, clusterId: string, peer: PeerConfig): Promise<Metadata> {
  const metadata = new Metadata();
  const bearer = await tokenText(token);
  if (bearer !== undefined) {
    metadata.set("authorization", `Bearer ${bearer}`);
    metadata.set("clusterid", clusterId);
  }
  for (const [name, value] of Object.entries(peer.headers)) metadata.set(name.toLowerCase(), value);
  return metadata;
}

async function tokenText(token: TokenSource): Promise<string | undefined> {
  switch (token.kind) {
    case "none":
      return undefined;
    case "static":
      return token.token;
    case "file": {
      const text = (await readFile(token.path, "utf8")).trim();
      if (text === "") throw new Error(`token file ${token.path} is empty`);
      return text;
    }
  }
}

async function rootPem(root: RootSource): Promise<string | string[]> {
  switch (root.kind) {
    case "system":
      return [...rootCertificates];
    case "pem":
      return root.pem;
    case "file": {
      const text = await readFile(root.path, "utf8");
      if (!text.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`${root.path}: no certificate in it`);
      return text;
    }
  }
}
