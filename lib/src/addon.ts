/** The native addon, of which every process that moves bytes uses a part. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Loads what `make build` has built. Throws with the build command in its message when it is missing. */
export function loadAddonFile(): unknown {
  const path = fileURLToPath(new URL("../../build/Release/weft.node", import.meta.url));
  try {
    return createRequire(import.meta.url)(path);
  } catch (cause) {
    throw new Error(`cannot load the native addon ${path}; run "make build"`, { cause });
  }
}

/**
 * Takes pages of files that only the start used (half of Node's binary) out of this process's resident memory and returns
 * how many bytes it gave back; what is used comes back from the page cache.
 */
export function releaseFilePages(): number {
  return (loadAddonFile() as { readonly releaseFilePages: () => number }).releaseFilePages();
}
