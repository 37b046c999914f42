/** Logs of pods, line by line. */
import { type ObjectName, objectPath } from "#lib/kube/client.ts";
import { lines } from "#lib/kube/lines.ts";
import { PODS } from "#lib/kube/types.ts";
import type { Context } from "../frame/context.ts";

export interface LogWish {
  readonly follow: boolean;
  readonly tail: string | undefined;
  readonly previous: boolean;
  readonly sinceSeconds: number | undefined;
}

export async function* podLog(context: Context, pod: ObjectName, wish: LogWish): AsyncGenerator<string> {
  const query = new URLSearchParams({ follow: String(wish.follow), previous: String(wish.previous) });
  if (wish.tail !== undefined) query.set("tailLines", wish.tail);
  if (wish.sinceSeconds !== undefined) query.set("sinceSeconds", String(wish.sinceSeconds));
  const path = `${objectPath(PODS, pod, "log")}?${query}`;
  const response = await context.cluster().client.open(path, { signal: context.signal });
  try {
    yield* lines(response);
  } finally {
    response.destroy();
  }
}
