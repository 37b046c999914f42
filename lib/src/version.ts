/** The version of this tree, which all of its processes share. */
import packageJson from "../../package.json" with { type: "json" };

export const VERSION: string = packageJson.version;
