/** Files that change together: `..data` points to a folder that is exchanged whole, as kubelet's writer does. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface VolumeFile {
  readonly path: string;
  readonly content: Buffer;
  readonly mode: number;
}

/** Returns whether anything changed. */
export function writeFiles(folder: string, files: readonly VolumeFile[], generation: number): boolean {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (isSame(folder, files)) return false;
  const target = `..${generation}`;
  for (const { path, content, mode } of files) {
    const full = join(folder, target, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content, { mode });
  }
  mkdirSync(join(folder, target), { recursive: true });
  symlinkSync(target, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  const wanted = new Set(files.map((file) => file.path.split("/")[0] ?? ""));
  for (const entry of readdirSync(folder)) {
    if (entry === "..data" || entry === target) continue;
    if (entry.startsWith("..") || !wanted.has(entry)) rmSync(join(folder, entry), { recursive: true, force: true });
  }
  const present = new Set(readdirSync(folder));
  for (const name of wanted) if (!present.has(name)) symlinkSync(join("..data", name), join(folder, name));
  return true;
}

function isSame(folder: string, files: readonly VolumeFile[]): boolean {
  try {
    const count = readdirSync(join(folder, "..data"), { recursive: true, withFileTypes: true }).filter((each) =>
      each.isFile(),
    ).length;
    return (
      count === files.length &&
      files.every((file) => readFileSync(join(folder, "..data", file.path)).equals(file.content))
    );
  } catch {
    return false;
  }
}
