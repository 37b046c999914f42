/** Writes docs/reference/analysis.md. */
import { writeFileSync } from "node:fs";
import { analysisPage } from "../control/src/analysis/reference.ts";

writeFileSync(new URL("../docs/reference/analysis.md", import.meta.url), analysisPage());
