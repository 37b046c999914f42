import type { Env } from "./env.ts";
import type { Handler } from "./http-service.ts";
import { servedBy } from "./served-by.ts";

/** Stars by reviewer. */
const RATINGS = { Reviewer1: 5, Reviewer2: 4 } as const;

/** `/ratings/<id>`. */
export function ratingsHandler(env: Env): Handler {
  return (path, request) => {
    const id = /^\/ratings\/(\d+)$/.exec(path)?.[1];
    if (id === undefined) return undefined;
    return { status: 200, body: { id: Number(id), ratings: RATINGS, servedBy: servedBy(env, request) } };
  };
}
