/** `hello` says which version it is; nothing else. For canaries by header and by weight, behind an nginx or not. */

import { run } from "../bookinfo/src/run.ts";
import { servedBy } from "../bookinfo/src/served-by.ts";

await run("hello", (env) => (path, request) => {
  if (path !== "/" && !path.startsWith("/hello")) return undefined;
  const version = env.SERVICE_VERSION ?? "v1";
  return { status: 200, body: { message: `hello from ${version}`, path, servedBy: servedBy(env, request) } };
});
