import { DEFAULT_URLS, type Env } from "./env.ts";
import type { Handler } from "./http-service.ts";
import { servedBy } from "./served-by.ts";
import { traceHeaders } from "./trace-headers.ts";
import { getJson, type Reply } from "./upstream.ts";

const REVIEWS = [
  { reviewer: "Reviewer1", text: "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!" },
  {
    reviewer: "Reviewer2",
    text: "Absolutely fun and entertaining. The play lacks thematic depth when compared to others.",
  },
] as const;

/** Colour of the stars by version; v1 shows none and never calls ratings. */
const STAR_COLOURS: Readonly<Record<string, string>> = { v2: "black", v3: "red" };

/** `/reviews/<id>`. Answers without stars, and says why, when ratings cannot be had. */
export function reviewsHandler(env: Env): Handler {
  const colour = STAR_COLOURS[env.SERVICE_VERSION ?? "v1"];
  const ratingsUrl = env.RATINGS_URL ?? DEFAULT_URLS.ratings;
  return async (path, request) => {
    const id = /^\/reviews\/(\d+)$/.exec(path)?.[1];
    if (id === undefined) return undefined;
    const from = servedBy(env, request);
    if (colour === undefined) return { status: 200, body: { id: Number(id), reviews: REVIEWS, servedBy: from } };
    const ratings = await getJson(`${ratingsUrl}/ratings/${id}`, traceHeaders(request.headers));
    const reviews = REVIEWS.map((review) => ({ ...review, rating: ratingOf(ratings, review.reviewer, colour) }));
    return { status: 200, body: { id: Number(id), reviews, ratings, servedBy: from } };
  };
}

function ratingOf(reply: Reply, reviewer: string, colour: string): object {
  if (!reply.ok) return { error: "ratings are not available" };
  const stars = (reply.body as { ratings?: Record<string, number> }).ratings?.[reviewer];
  return stars === undefined ? { error: "not rated" } : { stars, colour };
}
