/** One request over Node's HTTP/2. */
import { type ClientHttp2Stream, connect, constants } from "node:http2";
import type { Answer } from "./http1-client.ts";
import type { TestRequest } from "./requests.ts";
import { bodyOf } from "./upstream.ts";

const DEADLINE_MS = 10_000;

/** On a connection of its own: some proxies end a connection for what is wrong with one of its streams. */
export async function askHttp2(port: number, request: TestRequest, id: string): Promise<Answer | undefined> {
  const { method, path, authority, bodyBytes, trailers } = request;
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  const bodiless = bodyBytes === 0 && trailers.length === 0;
  const stream = session.request(
    { ":method": method, ":path": path, ":authority": authority, ":scheme": "http", ...fieldsIn(request, id) },
    { endStream: bodiless, waitForTrailers: trailers.length > 0 },
  );
  if (trailers.length > 0) stream.on("wantTrailers", () => stream.sendTrailers(Object.fromEntries(trailers)));
  const answer = collect(stream);
  if (!bodiless) stream.end(bodyOf(bodyBytes));
  return answer.finally(() => session.destroy());
}

function fieldsIn({ headers, bodyBytes, chunks, script }: TestRequest, id: string): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {};
  for (const [name, value] of [["x-diff-id", id], ["x-script", JSON.stringify(script)], ...headers] as const) {
    const lower = name.toLowerCase();
    const before = fields[lower];
    if (lower === "cookie" || before === undefined)
      fields[lower] = before === undefined ? value : `${before}; ${value}`;
    else fields[lower] = [...(Array.isArray(before) ? before : [before]), value];
  }
  if (bodyBytes > 0 && chunks === undefined) fields["content-length"] = String(bodyBytes);
  return fields;
}

function collect(stream: ClientHttp2Stream): Promise<Answer | undefined> {
  const informational: number[] = [];
  const pieces: Buffer[] = [];
  let head: { status: number; headers: [string, string][] } | undefined;
  let trailers: [string, string][] = [];
  stream.on("headers", (headers) => informational.push(Number(headers[":status"])));
  stream.on("response", (headers) => {
    head = { status: Number(headers[":status"]), headers: fieldsOf(headers) };
  });
  stream.on("trailers", (headers) => {
    trailers = fieldsOf(headers);
  });
  stream.on("data", (piece: Buffer) => pieces.push(piece));
  stream.on("error", () => undefined);
  stream.setTimeout(DEADLINE_MS, () => stream.close(constants.NGHTTP2_CANCEL));
  return new Promise((resolve) => {
    stream.once("close", () => {
      if (head === undefined) return resolve(undefined);
      const cut = stream.rstCode !== constants.NGHTTP2_NO_ERROR;
      resolve({ informational, ...head, body: Buffer.concat(pieces), trailers, cut });
    });
  });
}

function fieldsOf(headers: object): [string, string][] {
  return Object.entries(headers)
    .filter(([name]) => !name.startsWith(":"))
    .flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value]).map((each): [string, string] => [name, String(each)]),
    );
}
