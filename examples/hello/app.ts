/**
 * `hello` says which version it is; nothing else. For canaries by header and by weight, behind an nginx or not.
 * `/slow` takes a second, for timeouts.
 */
import { run } from "../bookinfo/src/run.ts";
import { servedBy } from "../bookinfo/src/served-by.ts";

const SLOW_MS = 1000;

await run("hello", (env) => async (path, request) => {
  if (path === "/slow") await new Promise((wake) => setTimeout(wake, SLOW_MS));
  else if (path !== "/" && !path.startsWith("/hello")) return undefined;
  const version = env.SERVICE_VERSION ?? "v1";
  return { status: 200, body: { message: `hello from ${version}`, path, servedBy: servedBy(env, request) } };
});
