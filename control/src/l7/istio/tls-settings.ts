/** `trafficPolicy.tls`: how a server is talked to, and where the certificates for it come from. */
import { create } from "@bufbuild/protobuf";
import { type ClientTls, ClientTls_Mode, ClientTlsSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";

/**
 * Disabled: no TLS beside that of the mesh, which is the tunnel's and stays. Mesh: the endpoint must be in the mesh.
 */
export type TlsFacts =
  | { readonly kind: "disabled" }
  | { readonly kind: "mesh" }
  | {
      readonly kind: "tls";
      /** Without certificates. */
      readonly tls: ClientTls;
      readonly material: TlsMaterial;
    };

/** Where certificates come from. All empty: the system's authorities. */
export interface TlsMaterial {
  /** Of a Secret. */
  readonly secret: string;
  /** Of a ConfigMap that has authorities. */
  readonly configMap: string;
  /** Fields that name files. */
  readonly files: readonly string[];
}

const CONFIG_MAP = "configmap://";
/** Istio's word for the authorities of the operating system. */
const SYSTEM = "system";
const FILES = ["caCertificates", "clientCertificate", "privateKey", "caCrl"];

export function readTls(fields: Fields): TlsFacts {
  const mode = fields.oneOf("mode", ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]) ?? "DISABLE";
  const sni = fields.string("sni") ?? "";
  const subjectAltNames = fields.strings("subjectAltNames");
  const skipVerify = fields.boolean("insecureSkipVerify") ?? false;
  const credential = fields.string("credentialName") ?? "";
  const named = new Map(FILES.map((field) => [field, fields.string(field) ?? ""]));
  const ca = named.get("caCertificates") ?? "";
  fields.refuseUnknown();
  const others = fields.names().filter((name) => name !== "mode");
  if (mode === "ISTIO_MUTUAL" && others.length > 0) fields.problem("", `ISTIO_MUTUAL takes no ${others.join(", ")}`);
  if (skipVerify && (ca !== "" || subjectAltNames.length > 0)) {
    fields.problem("insecureSkipVerify", "must not be set beside caCertificates or subjectAltNames");
  }
  if (
    mode === "MUTUAL" &&
    credential === "" &&
    (named.get("clientCertificate") === "" || named.get("privateKey") === "")
  )
    fields.problem("", "MUTUAL needs credentialName, or clientCertificate and privateKey");
  const ofConfigMap = credential.startsWith(CONFIG_MAP);
  if (mode === "MUTUAL" && ofConfigMap) fields.problem("credentialName", "a ConfigMap has no key, which MUTUAL needs");
  if (mode === "DISABLE") return { kind: "disabled" };
  if (mode === "ISTIO_MUTUAL") return { kind: "mesh" };
  // A credential stands in place of files.
  const files =
    credential === "" ? FILES.filter((field) => named.get(field) !== "" && named.get(field) !== SYSTEM) : [];
  return {
    kind: "tls",
    tls: create(ClientTlsSchema, {
      mode: mode === "MUTUAL" ? ClientTls_Mode.MUTUAL : ClientTls_Mode.SIMPLE,
      sni,
      subjectAltNames,
      skipVerify,
    }),
    material: {
      secret: ofConfigMap ? "" : credential,
      configMap: ofConfigMap ? credential.slice(CONFIG_MAP.length) : "",
      files,
    },
  };
}
