/** VirtualServices: `v1`, `v1beta1` and `v1alpha3` have one shape. */
import { parseCidr, parseIp } from "#lib/address.ts";
import type { IstioObject } from "#lib/kube/types.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { keyOf, type Meta, metaOf } from "../../model/meta.ts";
import { sameJson } from "../../model/same-json.ts";
import type { HostPort, HttpRuleFacts } from "./http-rule.ts";
import { type RuleContext, readHostPort, readHttpRule, shares } from "./http-rule-reader.ts";
import { fullHost, hostCovers, isHost, readExportTo } from "./values.ts";

/** Every proxy of the mesh. */
export const MESH_GATEWAY = "mesh";

export interface VirtualServiceFacts extends Meta {
  /** Full; empty for a delegate. */
  readonly hosts: readonly string[];
  /** `mesh` or `namespace/name`. */
  readonly gateways: readonly string[];
  readonly exportTo: readonly string[] | undefined;
  readonly http: readonly HttpRuleFacts[];
  readonly tls: readonly StreamRuleFacts[];
  readonly tcp: readonly StreamRuleFacts[];
}

/** One rule of `tls` or `tcp`. */
export interface StreamRuleFacts {
  readonly matches: readonly StreamMatchFacts[];
  readonly destinations: readonly (HostPort & { readonly weight: number })[];
}

export interface StreamMatchFacts {
  readonly sni: readonly string[];
  readonly subnets: readonly { readonly ip: string; readonly length: number }[];
  readonly port?: number;
  readonly sourceLabels: Readonly<Record<string, string>>;
  readonly sourceNamespace?: string;
  readonly gateways: readonly string[];
}

/** What was made of an object's rules, so that an edit of one of thousands reads one. */
interface Remembered {
  readonly raw: readonly unknown[];
  /** What is right in another object may not be in a delegate. */
  readonly delegate: boolean;
  readonly rules: readonly HttpRuleFacts[];
}

export class VirtualServiceReader {
  readonly #clusterDomain: string;
  readonly #remembered = new Map<string, Remembered>();

  constructor(clusterDomain: string) {
    this.#clusterDomain = clusterDomain;
  }

  /** The object is gone. */
  forget(key: string): void {
    this.#remembered.delete(key);
  }

  read(object: IstioObject, problems: Problem[]): VirtualServiceFacts | undefined {
    const meta = metaOf(object);
    const before = problems.length;
    const fields = new Fields(object.spec, "spec", problems);
    const hosts = this.#readHosts(fields, meta.namespace);
    const gateways = readGateways(fields, meta.namespace);
    const delegate = hosts.length === 0 && !fields.has("hosts");
    const context: RuleContext = { namespace: meta.namespace, clusterDomain: this.#clusterDomain, delegate };
    if (gateways.includes(MESH_GATEWAY) && hosts.includes("*"))
      fields.problem("hosts", "* needs a gateway, not the mesh");
    const exportTo = readExportTo(fields, meta.namespace);
    const http = this.#readHttp(keyOf(meta), fields, context, problems);
    const tls = fields.objects("tls").map((rule) => readStreamRule(rule, context, hosts));
    const tcp = fields.objects("tcp").map((rule) => readStreamRule(rule, context, undefined));
    if (http.length + tls.length + tcp.length === 0) fields.problem("", "needs http, tls or tcp");
    if (delegate && tls.length + tcp.length > 0) fields.problem("", "a delegate can only hold http");
    fields.refuseUnknown();
    // What is wrong cannot be routed by halves.
    if (problems.length > before) return undefined;
    return { ...meta, hosts, gateways, exportTo, http, tls, tcp };
  }

  #readHosts(fields: Fields, namespace: string): string[] {
    const hosts = new Set<string>();
    for (const [index, text] of fields.strings("hosts").entries()) {
      const host = fullHost(text, namespace, this.#clusterDomain);
      if (!isHost(text) && parseIp(text) === undefined) fields.problem(`hosts[${index}]`, `"${text}" is no host name`);
      else if (hosts.has(host)) fields.problem(`hosts[${index}]`, `${host} is there twice`);
      else hosts.add(host);
    }
    return [...hosts];
  }

  #readHttp(key: string, fields: Fields, context: RuleContext, problems: Problem[]): HttpRuleFacts[] {
    const raw = fields.list("http");
    const { delegate } = context;
    const remembered = this.#remembered.get(key);
    const last = remembered?.delegate === delegate ? remembered : undefined;
    const before = problems.length;
    const rules = raw.map((rule, index) => {
      const known = last?.rules[index];
      return known !== undefined && sameJson(rule, last?.raw[index])
        ? known
        : readHttpRule(fields.entry("http", index), context);
    });
    if (problems.length === before) this.#remembered.set(key, { raw, delegate, rules });
    return rules;
  }
}

function readGateways(fields: Fields, namespace: string): string[] {
  const gateways = fields.strings("gateways").map((name) => {
    if (name === MESH_GATEWAY || (name.includes("/") && !name.startsWith("./"))) return name;
    return `${namespace}/${name.replace(/^\.\//, "")}`;
  });
  return gateways.length === 0 ? [MESH_GATEWAY] : gateways;
}

/** `hosts` are those that every SNI must be covered by; undefined for `tcp`. */
function readStreamRule(fields: Fields, context: RuleContext, hosts: readonly string[] | undefined): StreamRuleFacts {
  const matches = fields.objects("match").map((match) => readStreamMatch(match, hosts));
  if (hosts !== undefined && matches.length === 0) fields.problem("match", "is required");
  const all = fields.objects("route").map((route) => {
    const weight = route.integer("weight", 0, 0xffff_ffff) ?? 0;
    const target = readHostPort(route, "destination", context);
    route.refuseUnknown();
    return { ...target, weight };
  });
  if (all.length === 0) fields.problem("route", "is required");
  const destinations = shares(fields, "route", all);
  fields.refuseUnknown();
  return { matches, destinations };
}

function readStreamMatch(fields: Fields, hosts: readonly string[] | undefined): StreamMatchFacts {
  const sni = hosts === undefined ? [] : fields.strings("sniHosts").map((host) => host.toLowerCase());
  if (hosts !== undefined && sni.length === 0) fields.problem("sniHosts", "is required");
  for (const [index, host] of sni.entries()) {
    if (host === "*" || !isHost(host)) fields.problem(`sniHosts[${index}]`, `"${host}" is no host name`);
    else if (hosts?.some((other) => hostCovers(other, host)) !== true) {
      fields.problem(`sniHosts[${index}]`, `"${host}" is none of the hosts`);
    }
  }
  const subnets = fields.strings("destinationSubnets").flatMap((text, index) => {
    const cidr = parseCidr(text);
    if (cidr === undefined) fields.problem(`destinationSubnets[${index}]`, `"${text}" is no CIDR`);
    return cidr === undefined ? [] : [cidr];
  });
  const port = fields.integer("port", 1, 65_535);
  const sourceNamespace = fields.string("sourceNamespace");
  const match = {
    sni,
    subnets,
    ...(port === undefined ? {} : { port }),
    sourceLabels: fields.map("sourceLabels"),
    ...(sourceNamespace ? { sourceNamespace } : {}),
    gateways: fields.strings("gateways"),
  };
  fields.refuseUnknown();
  return match;
}
