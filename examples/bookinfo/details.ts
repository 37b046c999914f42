import { detailsHandler } from "./src/details.ts";
import { run } from "./src/run.ts";

await run("details", detailsHandler);
