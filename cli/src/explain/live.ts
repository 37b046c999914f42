/** The picture of the cluster at hand, and the one that it would be with what is only in files yet. */
import { merged, readFiles } from "../cluster/manifest-files.ts";
import { meshObjects, meshSettings } from "../cluster/mesh-objects.ts";
import type { Context } from "../frame/context.ts";
import { MeshPicture } from "./picture.ts";

const DEFAULT_NAMESPACE = "default";

export interface Pictures {
  readonly now: MeshPicture;
  /** Undefined: no files were given. */
  readonly later: MeshPicture | undefined;
}

export async function livePictures(context: Context, files: readonly string[]): Promise<Pictures> {
  const namespace = context.namespace() ?? DEFAULT_NAMESPACE;
  const written = await readFiles(files, { recursive: true, namespace, stdin: context.stdin });
  const { objects, forbidden } = await meshObjects(context);
  if (forbidden.length > 0)
    context.note(`weft: not taken into account, for you may not list them: ${forbidden.join(", ")}`);
  const settings = meshSettings(objects, context.meshNamespace);
  const now = new MeshPicture(objects, settings);
  if (files.length === 0) return { now, later: undefined };
  const all = merged(objects, written).map(({ object }) => object);
  return { now, later: new MeshPicture(all, meshSettings(all, context.meshNamespace)) };
}
