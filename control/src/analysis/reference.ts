/** docs/reference/analysis.md, out of the table of codes. */
import { ANNOTATIONS } from "./annotations.ts";
import { CODES, CODES_WITHOUT_MEANING } from "./codes.ts";

export function analysisPage(): string {
  const codes = Object.entries(CODES).map(
    ([code, { name, level, about }]) => `| \`${code}\` | ${name} | ${level} | ${about.replaceAll("|", "\\|")} |`,
  );
  const without = CODES_WITHOUT_MEANING.map(([names, why]) => `| ${names} | ${why} |`);
  const annotations = [...ANNOTATIONS].map(
    ([name, { on, deprecated }]) =>
      `| \`${name}\` | ${on.includes("*") ? "any" : on.join(", ")} | ${deprecated === undefined ? "" : `deprecated; use ${deprecated}`} |`,
  );
  return `# Messages of the analysis

Written by \`node scripts/gen-analysis-reference.ts\` out of \`control/src/analysis/codes.ts\`.

\`weft analyze\` looks at everything in a cluster or in files; the admission webhook shows the warnings and errors about one object when it is applied, and refuses it
for IST0106. Both read objects with the control plane's own readers and ask its own model. A line is

\`\`\`
Level [Code] (Kind namespace/name file:line) text
\`\`\`

Codes, names and levels are those of \`istioctl analyze\`; so is the exit code 79 when there is a message at or above \`--failure-threshold\` (\`Error\`).
Silence messages about an object by its annotation \`galley.istio.io/analyze-suppress\` (codes with commas between, or \`*\`), and from outside by
\`--suppress "CODE=Kind namespace/name"\`, with stars.

| code | name | level | when, and what to do |
|---|---|---|---|
${codes.join("\n")}

## Codes of Istio's that are never given

| codes | why |
|---|---|
${without.join("\n")}

## Annotations that are known

Others under \`*.istio.io\` and \`weft.dev\` are told of by IST0108; those of sidecars (\`sidecar.istio.io/…\`, \`traffic.sidecar.istio.io/…\`) are not looked at.

| annotation | counts on | |
|---|---|---|
${annotations.join("\n")}
`;
}
