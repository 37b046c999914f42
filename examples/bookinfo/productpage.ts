import { productpageHandler } from "./src/productpage.ts";
import { run } from "./src/run.ts";

await run("productpage", productpageHandler);
