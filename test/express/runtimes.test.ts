import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import type { BedPod } from "../helpers/pod-bed.ts";
import { ExpressBed } from "./express-bed.ts";

const PROGRAMS = fileURLToPath(new URL("runtimes/", import.meta.url));
const BUILT = fileURLToPath(new URL("../../build/test/express/runtimes/", import.meta.url));
/** What the buffers between two ends hold at least: some clients read no answer before they have sent everything, and
 * some servers answer as they read. */
const SIZES = ["1", "1000", "100000", "1000000", "7"];
/** For runtimes that start slowly on two busy cores. */
const PATIENCE_MS = 120_000;
/** Go's listeners are MPTCP's by default, which stay with TCP. */
const GO_ENV = { GODEBUG: "multipathtcp=0" };

interface Runtime {
  serve(port: number): Promise<void>;
  /** Command of a client that says ok when every body came back. */
  post(port: number): readonly [string, ...string[]];
}

let bed: ExpressBed;

const url = (port: number): string => `http://${bed.server.ip}:${port}/echo`;

const RUNTIMES: Readonly<Record<string, Runtime>> = {
  Node: {
    serve: (port) => bed.serve(port, process.execPath, [`${PROGRAMS}echo-server.ts`, bed.server.ip, String(port)]),
    post: (port) => [process.execPath, `${PROGRAMS}echo-client.ts`, url(port), ...SIZES],
  },
  "Python asyncio": {
    serve: (port) => bed.serve(port, "python3", [`${PROGRAMS}echo_server.py`, bed.server.ip, String(port)]),
    post: (port) => ["python3", `${PROGRAMS}echo_client.py`, bed.server.ip, String(port), ...SIZES],
  },
  "Go net/http": {
    serve: (port) => bed.serve(port, `${BUILT}echo-go`, ["serve", `${bed.server.ip}:${port}`], GO_ENV),
    post: (port) => [`${BUILT}echo-go`, "post", url(port), ...SIZES],
  },
  Java: {
    serve: (port) => bed.serve(port, "java", ["-cp", BUILT, "EchoServer", bed.server.ip, String(port)]),
    post: (port) => ["java", "-cp", BUILT, "EchoClient", url(port), ...SIZES],
  },
};
const NAMES = Object.keys(RUNTIMES);

async function run(pod: BedPod, command: readonly [string, ...string[]]): Promise<string> {
  const [program, ...args] = command;
  const done = await bed.pods.run(pod, program, args, { timeout: PATIENCE_MS });
  expect({ command, code: done.code, stderr: done.stderr }).toEqual({ command, code: 0, stderr: "" });
  return done.stdout;
}

/** Does what is given, and sees that bytes went directly meanwhile. */
async function directly(work: () => Promise<void>): Promise<void> {
  const before = await bed.total();
  await work();
  await bed.stopServers();
  await eventually("bytes that went directly", async () => (await bed.total()).bytes > before.bytes);
}

function compile(): void {
  mkdirSync(BUILT, { recursive: true });
  execFileSync("javac", ["-d", BUILT, `${PROGRAMS}EchoServer.java`, `${PROGRAMS}EchoClient.java`]);
  execFileSync("go", ["build", "-o", `${BUILT}echo-go`, `${PROGRAMS}echo.go`], {
    env: { ...process.env, GOCACHE: `${BUILT}go-cache`, GOFLAGS: "-mod=mod" },
  });
}

/** An nginx that takes files by PUT, gives them back, and passes /echo on to the other pod. */
function nginxConfig(port: number, upstream: number): string {
  return `daemon off; master_process off; pid ${bed.dir}/nginx.pid; error_log stderr error;
    events { worker_connections 256; }
    http {
      access_log off; client_max_body_size 100m; sendfile on; client_body_buffer_size 16k; proxy_buffer_size 16k; proxy_buffers 8 16k;
      client_body_temp_path ${bed.dir}/body; proxy_temp_path ${bed.dir}/proxy;
      fastcgi_temp_path ${bed.dir}/f; uwsgi_temp_path ${bed.dir}/u; scgi_temp_path ${bed.dir}/s;
      server {
        listen ${bed.server.ip}:${port};
        location / { root ${bed.dir}/files; dav_methods PUT; }
        location /echo { proxy_pass http://${bed.client.ip}:${upstream}; proxy_http_version 1.1; }
      }
    }`;
}

describe("stock HTTP stacks over express connections", () => {
  beforeAll(async () => {
    bed = await ExpressBed.create(62);
    compile();
  });
  afterAll(() => bed.dispose());

  it.each(NAMES.flatMap((server) => NAMES.map((client) => [server, client] as const)))(
    "%s serves a client in %s",
    async (server, client) => {
      const port = bed.nextPort();
      await directly(async () => {
        await RUNTIMES[server]?.serve(port);
        const command = RUNTIMES[client]?.post(port);
        expect(command && (await run(bed.client, command))).toBe("ok\n");
      });
    },
    PATIENCE_MS,
  );

  it("Go's default listener, which is MPTCP's, serves by TCP", async () => {
    const port = bed.nextPort();
    await bed.serve(port, `${BUILT}echo-go`, ["serve", `${bed.server.ip}:${port}`]);
    expect(await run(bed.client, [process.execPath, `${PROGRAMS}echo-client.ts`, url(port), ...SIZES])).toBe("ok\n");
    await bed.stopServers();
  });

  it("nginx takes files, gives them back and is a proxy", async () => {
    const [port, upstream] = [bed.nextPort(), bed.nextPort()];
    mkdirSync(`${bed.dir}/files`);
    execFileSync("chmod", ["-R", "a+rwx", bed.dir]);
    writeFileSync(`${bed.dir}/nginx.conf`, nginxConfig(port, upstream));
    await directly(async () => {
      await bed.serve(port, "nginx", ["-c", `${bed.dir}/nginx.conf`]);
      // nginx sends an upstream all of a body before it reads the answer.
      const proxied = bed.pods.spawn(bed.client, `${BUILT}echo-go`, ["serve", `${bed.client.ip}:${upstream}`], {
        stdio: "ignore",
        env: { ...process.env, ...GO_ENV },
      });
      await bed.pods.listening(bed.client, upstream);
      for (const size of [16_384, 65_536, 1_000_000, 20_000_000]) {
        const file = `${bed.dir}/upload-${size}`;
        writeFileSync(file, randomBytes(size));
        const at = `http://${bed.server.ip}:${port}/${size}`;
        await run(bed.client, ["curl", "-sSf", "-m", "20", "-T", file, at]);
        await run(bed.client, ["curl", "-sSf", "-m", "20", "-o", `${file}.back`, at]);
        expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
      }
      expect(await run(bed.client, [process.execPath, `${PROGRAMS}echo-client.ts`, url(port), ...SIZES])).toBe("ok\n");
      proxied.kill("SIGKILL");
    });
  });

  it("nghttp2's server and client, in C++, speak HTTP/2", async () => {
    const port = bed.nextPort();
    const file = `${bed.dir}/h2-upload`;
    writeFileSync(file, randomBytes(5_000_000));
    await directly(async () => {
      await bed.serve(port, "nghttpd", ["--no-tls", "--echo-upload", "-a", bed.server.ip, String(port)]);
      const child = bed.pods.spawn(bed.client, "/bin/sh", ["-c", `nghttp -d ${file} ${url(port)} >${file}.back`]);
      await new Promise((resolve) => child.once("exit", resolve));
      expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
    });
  });
});
