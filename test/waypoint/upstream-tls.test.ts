/** TLS from a waypoint to servers that speak it on their own: who is asked for, who is believed, and with what it is proven. */
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { SECRETS } from "#lib/kube/types.ts";
import { type Svid, TestCa } from "../helpers/pki.ts";
import { type Answer, NAMESPACE, WaypointChain } from "./chain.ts";

const VIP = "10.97.0.1";

describe("TLS to a server", () => {
  let chain: WaypointChain;
  let ca: TestCa;
  let server: Server;

  /** A server of these names says whom it was asked for and by whom. */
  async function serve(ip: string, dnsNames: readonly string[]): Promise<Server> {
    const { chain: cert, key } = await ca.issue("", { uris: [], dnsNames });
    const made = createServer(
      { cert, key, ca: ca.root, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const socket = request.socket as TLSSocket;
        const { subjectaltname: client = "nobody" } = socket.getPeerCertificate() ?? {};
        response.end(`${socket.servername} ${client}`);
      },
    );
    made.on("tlsClientError", () => undefined);
    made.listen(chain.port, ip);
    await once(made, "listening");
    return made;
  }
  function putSecret(name: string, texts: Readonly<Record<string, string>>): void {
    const data = Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
    chain.kube.put(SECRETS, { metadata: { namespace: NAMESPACE, name }, data: Object.fromEntries(data) });
  }
  const pairOf = ({ chain: cert, key }: Svid, root = ca.root) => ({ "tls.crt": cert, "tls.key": key, "ca.crt": root });
  const rule = (tls: string) =>
    chain.apply(`apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  trafficPolicy: {tls: {${tls}}}
`);
  const becomes = (body: string, url = "http://web/") => chain.until((answer) => answer.body === body, url);
  const refused = async (why: RegExp, url = "http://web/"): Promise<Answer> => {
    const answer = await chain.until(({ status, body }) => status === 503 && why.test(body), url);
    expect((await answer.line()).response_flags).toBe("URX,UF");
    return answer;
  };

  beforeAll(async () => {
    [chain, ca] = await Promise.all([WaypointChain.start(), TestCa.create()]);
    chain.service("web");
    const ip = chain.address(0);
    server = await serve(ip, ["web.shop.svc.cluster.local", "b.example"]);
    chain.putPod({ name: "web", ip }, { app: "web" });
  });
  afterAll(async () => {
    server?.close();
    server?.closeAllConnections();
    await chain?.stop();
  });

  it("is begun with the certificate that a Secret has, and with the next one once there is one", async () => {
    rule("mode: MUTUAL, credentialName: client");
    await refused(/Secret shop\/client does not exist/);
    await eventually("the rule says so", () =>
      chain
        .conditions("DestinationRule", "web")
        .some((each) => each.startsWith("ResolvedRefs=False/InvalidCertificateRef")),
    );
    const [first, second] = await Promise.all(
      ["first", "second"].map((name) => ca.issue("", { uris: [], dnsNames: [name] })),
    );
    putSecret("client", pairOf(first as Svid));
    await becomes("web.shop.svc.cluster.local DNS:first");
    // The connection that was made stays until what it proves is another thing.
    await becomes("web.shop.svc.cluster.local DNS:first");
    putSecret("client", pairOf(second as Svid));
    await becomes("web.shop.svc.cluster.local DNS:second");
    for (let i = 0; i < 5; i++) expect((await chain.ask("http://web/")).body).toContain("DNS:second");
    chain.kube.remove(SECRETS, NAMESPACE, "client");
    await refused(/Secret shop\/client does not exist/);
  });

  it("believes the authorities that it is given, and nobody else", async () => {
    const stranger = await TestCa.create("stranger");
    const client = await ca.issue("", { uris: [], dnsNames: ["client"] });
    putSecret("client", pairOf(client, stranger.root));
    rule("mode: MUTUAL, credentialName: client");
    await refused(/certificate/);
    putSecret("client-cacert", { "ca.crt": ca.root });
    await becomes("web.shop.svc.cluster.local DNS:client");
    chain.kube.remove(SECRETS, NAMESPACE, "client-cacert");
    await refused(/certificate/);
    // The system's authorities do not know it either.
    rule("mode: SIMPLE");
    await refused(/certificate/);
    rule("mode: SIMPLE, insecureSkipVerify: true");
    await becomes("web.shop.svc.cluster.local nobody");
  });

  it("asks for `sni` and verifies it, or the names that it is given instead", async () => {
    putSecret("server", { cacert: ca.root });
    rule("mode: SIMPLE, credentialName: server, sni: b.example");
    await becomes("b.example nobody");
    rule("mode: SIMPLE, credentialName: server, sni: other.example");
    await refused(/none of the names/);
    rule("mode: SIMPLE, credentialName: server, sni: other.example, subjectAltNames: [x.example, b.example]");
    await becomes("other.example nobody");
    rule("mode: SIMPLE, credentialName: server, subjectAltNames: [x.example]");
    await refused(/none of the names/);
  });

  it("is what a BackendTLSPolicy says, whatever a rule says, and never done without", async () => {
    rule("mode: DISABLE");
    const policy = (authority: string) =>
      chain.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: web}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  validation:
    hostname: b.example
    caCertificateRefs: [{group: "", kind: ConfigMap, name: ${authority}}]
`);
    policy("missing");
    await refused(/ConfigMap shop\/missing does not exist/);
    const indented = ca.root.trim().split("\n").join("\n    ");
    chain.apply(`apiVersion: v1\nkind: ConfigMap\nmetadata: {name: server}\ndata:\n  ca.crt: |\n    ${indented}\n`);
    policy("server");
    await becomes("b.example nobody");
    chain.remove("BackendTLSPolicy", "web");
    chain.remove("DestinationRule", "web");
    // In the clear a TLS server understands nothing.
    await chain.until(({ body }) => body !== "b.example nobody", "http://web/");
  });

  it("asks each host of a wildcard for itself", async () => {
    const ip = chain.address(1);
    const many = await serve(ip, ["*.many.example"]);
    chain.apply(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: many, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: ["*.many.example"]
  addresses: [${VIP}]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: ${ip}, ports: {http: ${chain.port}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: many}
spec:
  host: "*.many.example"
  trafficPolicy: {tls: {mode: SIMPLE, credentialName: server}}
`);
    for (const host of ["a.many.example", "b.many.example", "a.many.example"]) {
      const answer = await chain.until(({ status }) => status === 200, `http://${VIP}/`, { headers: { host } });
      expect(answer.body).toBe(`${host} nobody`);
    }
    const other = await chain.ask(`http://${VIP}/`, { headers: { host: "evil.example" } });
    expect(other.status).toBe(503);
    expect((await other.line()).response_flags).toBe("URX,UF");
    many.close();
    many.closeAllConnections();
  });
});
