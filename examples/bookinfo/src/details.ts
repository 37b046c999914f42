import type { Env } from "./env.ts";
import type { Handler } from "./http-service.ts";
import { servedBy } from "./served-by.ts";

const BOOK = {
  title: "The Comedy of Errors",
  author: "William Shakespeare",
  year: 1595,
  type: "paperback",
  pages: 200,
  publisher: "PublisherA",
  language: "English",
} as const;

/** `/details/<id>`: the same book under every number. */
export function detailsHandler(env: Env): Handler {
  return (path, request) => {
    const id = /^\/details\/(\d+)$/.exec(path)?.[1];
    if (id === undefined) return undefined;
    return { status: 200, body: { id: Number(id), ...BOOK, servedBy: servedBy(env, request) } };
  };
}
