import http from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { publicJwk } from "../../../../test/helpers/public-jwk.ts";
import { blockListOf, DEFAULT_BLOCKED_CIDRS } from "./bounded-fetch.ts";
import type { JwksSource } from "./jwks.ts";
import { JwksKeeper, type JwksTiming } from "./jwks-keeper.ts";

const until = (what: string, holds: () => boolean | undefined) =>
  eventually(what, () => (holds() === true ? true : undefined));

const TIMING: JwksTiming = { refreshMs: 20, retryMs: 20, keepMs: 60_000 };

describe("the keeper of key sets", () => {
  let server: http.Server;
  let base: string;
  let answer: http.RequestListener;
  let requests: string[];
  let stopping: AbortController;
  let running: Promise<void>;
  let changes: string[];

  beforeEach(async () => {
    requests = [];
    changes = [];
    server = http.createServer((request, response) => {
      requests.push(request.url ?? "");
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    stopping = new AbortController();
    running = Promise.resolve();
  });

  afterEach(async () => {
    stopping.abort();
    await running;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  function keeper(more: { timing?: Partial<JwksTiming>; blocked?: readonly string[] } = {}): JwksKeeper {
    const result = new JwksKeeper({
      blocked: blockListOf(more.blocked ?? []),
      log: pino({ level: "silent" }),
      onChange: (key) => changes.push(key),
      timing: { ...TIMING, ...more.timing },
    });
    running = result.run(stopping.signal);
    return result;
  }

  const source = (path = "/keys", timeoutMs = 2_000): JwksSource => ({ uri: base + path, timeoutMs });
  const send =
    (value: unknown): http.RequestListener =>
    (_, response) =>
      response.end(JSON.stringify(value));

  /** The reason why keys from `path` cannot be had. */
  async function failure(path = "/keys", timeoutMs?: number): Promise<string> {
    const keys = keeper({ timing: { retryMs: 60_000 } });
    keys.want("a", [source(path, timeoutMs)]);
    await until("an attempt", () => keys.failureOf(source(path)) !== "not fetched yet");
    expect(keys.keysOf(source(path))).toBeUndefined();
    return keys.failureOf(source(path));
  }

  it("fetches once for all who want the same, tells of new keys and forgets what nobody wants", async () => {
    let key = publicJwk("1");
    answer = (request, response) => send({ keys: [key] })(request, response);
    const keys = keeper();
    keys.want("a", [source()]);
    keys.want("b", [source()]);
    await until("the first key", () => keys.keysOf(source())?.includes('"kid":"1"'));
    key = publicJwk("2");
    await until("the second key", () => keys.keysOf(source())?.includes('"kid":"2"'));
    expect(changes).toEqual([source(), source()].map((each) => ("uri" in each ? each.uri : "")));
    keys.want("a", []);
    expect(keys.keysOf(source())).toBeDefined();
    keys.want("b", []);
    expect(keys.keysOf(source())).toBeUndefined();
  });

  it("asks the issuer where its keys are", async () => {
    answer = (request, response) =>
      request.url === "/realm/.well-known/openid-configuration"
        ? send({ jwks_uri: `${base}/certs` })(request, response)
        : send({ keys: [publicJwk("x")] })(request, response);
    const keys = keeper();
    const issuer = { issuer: `${base}/realm/`, timeoutMs: 2_000 };
    keys.want("a", [issuer]);
    await until("keys of the issuer", () => keys.keysOf(issuer)?.includes('"x"'));
    expect(requests.slice(0, 2)).toEqual(["/realm/.well-known/openid-configuration", "/certs"]);
  });

  it("holds on to keys while the server fails, and drops them in the end", async () => {
    let up = true;
    answer = (request, response) => {
      if (up) send({ keys: [publicJwk("1")] })(request, response);
      else response.writeHead(500).end();
    };
    const keys = keeper({ timing: { keepMs: 400 } });
    keys.want("a", [source()]);
    await until("keys", () => keys.keysOf(source()) !== undefined);
    up = false;
    await until("a failure", () => keys.failureOf(source()) === "status 500");
    expect(keys.keysOf(source())).toBeDefined();
    await until("no keys", () => keys.keysOf(source()) === undefined);
    up = true;
    await until("keys", () => keys.keysOf(source()) !== undefined);
  });

  it("gives up on a server that is slow, at the head or in the middle", async () => {
    answer = () => {};
    expect(await failure("/keys", 50)).toBe("no answer within 50 ms");
    answer = (_, response) => {
      response.write("{");
      const drip = setInterval(() => response.write(" "), 5);
      response.on("close", () => clearInterval(drip));
    };
    expect(await failure("/drip", 80)).toBe("no answer within 80 ms");
  });

  it("stops reading what is too large", async () => {
    let written = 0;
    answer = (_, response) => {
      const part = Buffer.alloc(64 * 1024, " ");
      const more = (): void => {
        while (!response.destroyed && written < 64 * 1024 * 1024) {
          written += part.length;
          if (!response.write(part)) return void response.once("drain", more);
        }
      };
      more();
    };
    expect(await failure()).toMatch(/more than \d+ bytes/);
    expect(written).toBeLessThan(32 * 1024 * 1024);
  });

  it("refuses garbage, other schemes, and redirects without end", async () => {
    answer = (_, response) => response.end(Buffer.from([0xff, 0xfe, 0x00]));
    await failure("/binary");
    answer = send({ keys: "none" });
    expect(await failure("/odd")).toBe("the key set has no list of keys");
    answer = (_, response) => response.writeHead(302, { location: "/again" }).end();
    expect(await failure("/loop")).toBe("more than 3 redirects");
    answer = (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end();
    expect(await failure("/file")).toBe("file: is not possible");
    answer = (request) => request.socket.destroy();
    await failure("/reset");
  });

  it("never connects to addresses that are not allowed, also not by a name or a redirect", async () => {
    answer = send({ keys: [publicJwk("1")] });
    const keys = keeper({ blocked: DEFAULT_BLOCKED_CIDRS });
    const { port } = server.address() as AddressInfo;
    const hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "0x7f.1"];
    const sources = hosts.map((host) => ({ uri: `http://${host}:${port}/keys`, timeoutMs: 2_000 }));
    keys.want("a", sources);
    for (const each of sources) {
      await until("a refusal", () => keys.failureOf(each).endsWith("is not allowed"));
    }
    expect(requests).toEqual([]);
  });
});
