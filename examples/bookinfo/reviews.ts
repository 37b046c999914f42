import { reviewsHandler } from "./src/reviews.ts";
import { run } from "./src/run.ts";

await run("reviews", reviewsHandler);
