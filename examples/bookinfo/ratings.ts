import { ratingsHandler } from "./src/ratings.ts";
import { run } from "./src/run.ts";

await run("ratings", ratingsHandler);
