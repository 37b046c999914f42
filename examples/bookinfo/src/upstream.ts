/** Calls of one service to another. */
import { type ClientRequest, get, type IncomingMessage } from "node:http";
import { json } from "node:stream/consumers";
import { UPSTREAM_TIMEOUT_MS } from "./http-service.ts";

/** What came of a call; a failed one is data, since pages are shown without the part that failed. */
export type Reply = { readonly ok: true; readonly body: unknown } | { readonly ok: false; readonly error: string };

/**
 * GETs JSON over a connection of its own, so that each call is balanced by itself and is one line of the access log.
 * Never throws: a refusal, a timeout and a bad status all come back as `ok: false` with the reason.
 */
export async function getJson(url: string, headers: Record<string, string>): Promise<Reply> {
  try {
    const signal = AbortSignal.timeout(UPSTREAM_TIMEOUT_MS);
    const response = await responseOf(get(url, { agent: false, headers, signal }));
    if (response.statusCode === 200) return { ok: true, body: await json(response) };
    response.resume();
    return { ok: false, error: `${url} answered ${response.statusCode}` };
  } catch (error) {
    return { ok: false, error: `${url}: ${reasonOf(error)}` };
  }
}

function responseOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => request.once("response", resolve).once("error", reject));
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "AbortError") return `no answer within ${UPSTREAM_TIMEOUT_MS} ms`;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
