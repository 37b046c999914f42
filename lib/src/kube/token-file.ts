/** Files that credentials are read from. */
import { existsSync, readFileSync } from "node:fs";
import { KubeAccessError } from "./errors.ts";

/** Tokens are rotated well before they expire; kubelet's shortest life is 10 minutes. */
const TOKEN_REREAD_MS = 30_000;

/** An `authorization` header whose token is read anew now and then. */
export function bearerFromFile(path: string): () => string {
  let header = "";
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - readAt > TOKEN_REREAD_MS) {
      header = `Bearer ${readText(path).trim()}`;
      readAt = now;
    }
    return header;
  };
}

export function readText(path: string): string {
  if (!existsSync(path)) throw new KubeAccessError(`${path}: no such file`);
  return readFileSync(path, "utf8");
}
