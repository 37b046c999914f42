import type { Product } from "./productpage.ts";
import type { Reply } from "./upstream.ts";

/** The page a browser shows; parts that failed carry their reason instead of content. */
export function productPage(product: Product): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Bookinfo</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}
.error{color:#a00}.black{color:#000}.red{color:#d00}dt{font-weight:600}</style></head>
<body>
<h1>Bookinfo</h1>
<h2>Details</h2>
${detailsPart(product.details)}
<h2>Reviews</h2>
${reviewsPart(product.reviews)}
<p><small>served by ${escapeHtml(product.servedBy.pod)}</small></p>
</body>
</html>
`;
}

function detailsPart(reply: Reply): string {
  if (!reply.ok) return failure(reply.error);
  const rows = Object.entries(reply.body as Record<string, unknown>)
    .filter(([, value]) => typeof value !== "object")
    .map(([key, value]) => `<dt>${escapeHtml(key)}</dt><dd>${escapeHtml(String(value))}</dd>`);
  return `<dl>${rows.join("")}</dl>`;
}

interface Review {
  readonly reviewer: string;
  readonly text: string;
  readonly rating?: { readonly stars?: number; readonly colour?: string; readonly error?: string };
}

function reviewsPart(reply: Reply): string {
  if (!reply.ok) return failure(reply.error);
  const { reviews, servedBy } = reply.body as { reviews: readonly Review[]; servedBy: { pod: string } };
  const items = reviews.map(
    (review) =>
      `<blockquote>${escapeHtml(review.text)} <cite>${escapeHtml(review.reviewer)}</cite>${stars(review)}</blockquote>`,
  );
  return `${items.join("\n")}\n<p><small>reviews served by ${escapeHtml(servedBy.pod)}</small></p>`;
}

function stars({ rating }: Review): string {
  if (rating === undefined) return "";
  if (rating.error !== undefined) return failure(rating.error);
  return ` <span class="${escapeHtml(rating.colour ?? "")}">${"★".repeat(rating.stars ?? 0)}</span>`;
}

function failure(reason: string): string {
  return `<p class="error">${escapeHtml(reason)}</p>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
