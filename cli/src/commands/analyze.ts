/** `weft analyze`: what is wrong with resources, in the cluster or before they get there. */

import { LEVELS } from "../../../control/src/analysis/codes.ts";
import { EXIT_FOUND } from "../explain/exit-codes.ts";
import { command } from "../frame/command.ts";

export const analyzeCommand = command({
  name: "analyze",
  summary: "say what is wrong with resources, in the cluster or in files",
  description:
    "Messages have istioctl's codes and form: Level [ISTxxxx] (Kind namespace/name file:line) text. Files given as arguments are looked at together with what is in the cluster, as if they had been applied; with -f no cluster is asked, and what the files do not have does not exist. docs/reference/analysis.md lists every code. An object's annotation galley.istio.io/analyze-suppress (codes with commas between, or *) silences messages about it.",
  args: [{ name: "FILE", optional: true, variadic: true, about: "manifests, folders of them, or - for stdin" }],
  flags: {
    file: { type: "string", short: "f", multiple: true, value: "FILE", about: "the same, without a cluster" },
    recursive: { type: "boolean", short: "R", about: "folders within folders too" },
    "list-analyzers": { type: "boolean", short: "L", about: "list what is looked for, and end" },
    "use-kube": {
      type: "string",
      value: "BOOLEAN",
      choices: ["true", "false"],
      about: "whether to look at the cluster too (default: true, with -f false)",
    },
    suppress: {
      type: "string",
      short: "S",
      multiple: true,
      value: "CODE=OBJECT",
      about: 'leave a message out, as "IST0102=Namespace shop*"',
    },
    "failure-threshold": {
      type: "string",
      value: "LEVEL",
      choices: LEVELS,
      about: "the least level that makes the exit code 79 (default: Error)",
    },
    "output-threshold": {
      type: "string",
      value: "LEVEL",
      choices: LEVELS,
      about: "the least level that is shown (default: Info)",
    },
  },
  cluster: true,
  output: ["log", "json", "yaml"],
  exitCodes: [[EXIT_FOUND, "analyze: there is a message at or above --failure-threshold"]],
  examples: [
    ["weft analyze -n shop", "Everything in a namespace"],
    ["weft analyze -A --failure-threshold Warning", "All namespaces; warnings count too"],
    ["weft analyze -f shop.yaml", "A file, without a cluster"],
    ["weft analyze new-routes.yaml -n shop", "What would be wrong if the file were applied"],
  ],
  run: async (context, { args, flags }) => (await import("../explain/run-analyze.ts")).runAnalyze(context, args, flags),
});
