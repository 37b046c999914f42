/** gRPC through a waypoint: grpc-js at both ends, GRPCRoutes and VirtualServices in between. */
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { WaypointChain } from "./chain.ts";
import { Doorway } from "./doorway.ts";
import { CartClient, CartServer, type Outcome } from "./grpc-cart.ts";

/** Loaded machines are slow; nothing here waits for a time. */
const PATIENCE_MS = 20_000;
const PORTS = [{ name: "grpc", port: 80 }];

describe("gRPC", () => {
  let chain: WaypointChain;
  let doorway: Doorway;
  let client: CartClient;
  const servers: CartServer[] = [];

  /** Calls until the outcome is as wanted: what was applied is in force. */
  async function until(holds: (outcome: Outcome) => boolean, path: string, message = "x"): Promise<Outcome> {
    let last: Outcome | undefined;
    return eventually(
      `another outcome of ${path}`,
      async () => {
        last = await client.call(path, message);
        if (!holds(last)) throw new Error(`it is ${last.code} ${last.details} ${last.messages}`);
        return last;
      },
      PATIENCE_MS,
    );
  }

  beforeAll(async () => {
    chain = await WaypointChain.start();
    for (const [index, name] of ["cart", "cart-v2"].entries()) {
      chain.service(name, PORTS);
      const ip = chain.address(index);
      servers.push(await CartServer.start(name, ip, chain.port));
      chain.putPod({ name, ip }, { app: name });
    }
    doorway = await Doorway.open(chain, "cart");
    client = new CartClient(doorway.address);
    await until(({ code }) => code === status.OK, "/shop.Cart/Get");
  });
  afterAll(async () => {
    client?.close();
    doorway?.close();
    for (const server of servers) server.stop();
    await chain?.stop();
  });

  it("has its headers, messages, trailers and status at both ends", async () => {
    const got = await client.call("/shop.Cart/Get", "apple", { "x-said": "hello" });
    expect(got).toMatchObject({ code: status.OK, messages: ["cart apple"] });
    expect(got.headers.get("x-heard")).toEqual(["hello"]);
    expect(got.headers.get("server")).toEqual(["istio-envoy"]);
    expect(got.trailers.get("x-trailer")).toEqual(["cart"]);
    const failed = await client.call("/shop.Cart/Fail", `${status.NOT_FOUND} 9`);
    expect(failed).toMatchObject({ code: status.NOT_FOUND, details: "as asked", messages: [] });
    expect(failed.trailers.get("x-trailer")).toEqual(["cart"]);
  });

  it("streams either way", async () => {
    const list = await client.call("/shop.Cart/List", "500");
    expect(list.messages).toHaveLength(500);
    expect(list.messages.at(-1)).toBe("cart 499");
    const long = "x".repeat(100_000);
    const talk = await client.talk(["a", long, "c"]);
    expect(talk).toMatchObject({ code: status.OK, messages: ["a", long, "c"] });
    expect(talk.trailers.get("x-trailer")).toEqual(["cart"]);
  });

  it("is in the access log with its status and path", async () => {
    const id = "10000000-0000-4000-8000-000000000001";
    await client.call("/shop.Cart/Fail", `${status.DATA_LOSS} 9`, { "x-request-id": id });
    expect(await chain.line(id)).toMatchObject({ path: "/shop.Cart/Fail", protocol: "HTTP/2", response_code: 200 });
  });

  it("is tried again on the statuses that a VirtualService names, and on no others", async () => {
    chain.apply(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - match: [{uri: {exact: /shop.Cart/List}}]
    route: [{destination: {host: cart-v2}}]
  - match: [{uri: {prefix: /shop.Cart/}}]
    retries: {attempts: 3, retryOn: "unavailable,resource-exhausted", backoff: 1ms}
    route: [{destination: {host: cart}}]
  - fault: {abort: {grpcStatus: PERMISSION_DENIED, percentage: {value: 100}}}
    route: [{destination: {host: cart}}]
`);
    await until(({ messages }) => messages[0] === "cart-v2 0", "/shop.Cart/List", "1");
    const [cart] = servers;
    for (const code of [status.UNAVAILABLE, status.RESOURCE_EXHAUSTED]) {
      const question = `${code} 2`;
      expect(await client.call("/shop.Cart/Fail", question)).toMatchObject({
        code: status.OK,
        messages: ["cart at last"],
      });
      expect(cart?.failed.filter((each) => each === question)).toHaveLength(3);
    }
    // One more try than it has.
    const question = `${status.UNAVAILABLE} 4`;
    expect(await client.call("/shop.Cart/Fail", question)).toMatchObject({
      code: status.UNAVAILABLE,
      details: "as asked",
    });
    expect(cart?.failed.filter((each) => each === question)).toHaveLength(4);
    const other = `${status.INTERNAL} 1`;
    expect((await client.call("/shop.Cart/Fail", other)).code).toBe(status.INTERNAL);
    expect(cart?.failed.filter((each) => each === other)).toHaveLength(1);
    // A fault comes before any server.
    expect((await client.call("/shop.Other/Get", "x")).code).toBe(status.PERMISSION_DENIED);
  });

  it("goes by service and method of a GRPCRoute, and nowhere else", async () => {
    chain.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: cart}
spec:
  parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
  rules:
  - matches: [{method: {service: shop.Cart, method: Get}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-said, value: by the route}]}}]
    backendRefs: [{name: cart-v2, port: 80}]
  - matches: [{method: {service: shop.Cart, method: List}, headers: [{name: x-all, value: "yes"}]}]
    backendRefs: [{name: cart, port: 80}]
  - matches: [{method: {service: shop.Gone}}]
    backendRefs: [{name: nobody, port: 80}]
`);
    const got = await until(({ messages }) => messages[0] === "cart-v2 x", "/shop.Cart/Get");
    expect(got.headers.get("x-heard")).toEqual(["by the route"]);
    expect((await client.call("/shop.Cart/List", "1", { "x-all": "yes" })).messages).toEqual(["cart 0"]);
    expect((await client.call("/shop.Cart/List", "1")).code).toBe(status.UNIMPLEMENTED);
    expect((await client.call("/shop.Gone/Get", "1")).code).toBe(status.UNAVAILABLE);
    await eventually("the reference that leads nowhere", () =>
      chain.conditions("GRPCRoute", "cart").some((each) => each.startsWith("ResolvedRefs=False/BackendNotFound")),
    );
    chain.remove("GRPCRoute", "cart");
    await until(({ messages }) => messages[0] === "cart x", "/shop.Cart/Get");
  });

  it("is answered in its own words where nobody is there", async () => {
    servers[1]?.stop();
    const { code, details } = await until((outcome) => outcome.code !== status.OK, "/shop.Cart/List", "1");
    expect([code, details]).toEqual([status.UNAVAILABLE, expect.stringContaining("upstream connect error")]);
  });
});
