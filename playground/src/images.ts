/** What an image's name stands for here: programs of this machine and scripts of this repository. See playground/README.md. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface Image {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
}

const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Nothing of their own: the pod's command says what to run, with the machine's programs. */
const HOST_IMAGES = new Set(["host", "busybox", "alpine", "debian", "ubuntu", "netshoot"]);
/** Programs that are an image's entry point when the machine has them. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  curl: ["curl"],
  nginx: ["nginx", "-g", "daemon off;"],
  iperf3: ["iperf3"],
  psql: ["psql"],
};

/** Thrown for a name that stands for nothing; the message is for the pod's event. */
export class UnknownImageError extends Error {
  override readonly name = "UnknownImageError";
}

/** `repository` is the root of this repository, where the pinned Node is. */
export function resolveImage(reference: string, repository: string): Image {
  const { name, tag } = parseReference(reference);
  const bins = ["node_modules/.bin", "agent/bin", "control/bin", "waypoint/bin", "cli/bin"].map((each) =>
    join(repository, each),
  );
  const base = {
    entrypoint: [],
    command: ["sh"],
    workingDir: "/",
    env: { PATH: SYSTEM_PATH, HOME: "/root", WEFT_IMAGE_TAG: tag },
  };
  const ours = { ...base, env: { ...base.env, PATH: [...bins, SYSTEM_PATH].join(delimiter) } };
  if (name === "weft" || name.startsWith("weft-")) {
    return { ...ours, command: name === "weft" ? ["sh"] : [name], workingDir: repository };
  }
  if (name === "node") return { ...ours, entrypoint: [], command: ["node"], workingDir: repository };
  if (HOST_IMAGES.has(name)) return base;

  const example = /^examples-([a-z0-9]+)-([a-z0-9-]+)$/.exec(name);
  if (example !== null) {
    const [, folder = "", script = ""] = example;
    const path = join(repository, "examples", folder, `${script}.ts`);
    if (!existsSync(path))
      throw new UnknownImageError(`image "${reference}": there is no examples/${folder}/${script}.ts`);
    return { ...ours, entrypoint: ["node", path], command: [], workingDir: join(repository, "examples", folder) };
  }
  const program = PROGRAMS[name];
  if (program?.[0] !== undefined) {
    if (!isInstalled(program[0])) {
      throw new UnknownImageError(`image "${reference}": ${program[0]} is not installed on this machine`);
    }
    return { ...base, entrypoint: program, command: [] };
  }
  if (name === "postgres") return { ...base, entrypoint: [postgresScript(reference)], command: [] };
  const known = ["weft", "node", "examples-<folder>-<script>", ...HOST_IMAGES, ...Object.keys(PROGRAMS), "postgres"];
  throw new UnknownImageError(`image "${reference}" is not known to the playground; known: ${known.join(", ")}`);
}

/** `registry/path/name:tag@digest`: only name and tag count. */
function parseReference(reference: string): { name: string; tag: string } {
  const [plain = ""] = reference.split("@");
  const last = plain.split("/").at(-1) ?? "";
  const [name = "", tag = "latest"] = last.split(":");
  return { name, tag };
}

function isInstalled(program: string): boolean {
  return SYSTEM_PATH.split(":").some((folder) => existsSync(join(folder, program)));
}

function postgresScript(reference: string): string {
  if (!isInstalled("postgres") && !existsSync("/usr/lib/postgresql")) {
    throw new UnknownImageError(`image "${reference}": PostgreSQL is not installed on this machine`);
  }
  return join(import.meta.dirname, "..", "images", "postgres.sh");
}
