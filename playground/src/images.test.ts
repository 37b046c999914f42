import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveImage } from "./images.ts";

const ROOT = resolve(import.meta.dirname, "../..");

describe("images", () => {
  it("are found by name, whatever registry and tag are written", () => {
    for (const reference of ["node", "node:26", "registry.example:5000/library/node:26@sha256:abc"]) {
      expect(resolveImage(reference, ROOT).command).toEqual(["node"]);
    }
    expect(resolveImage("weft", ROOT).env.PATH).toContain(`${ROOT}/agent/bin`);
  });

  it("run scripts of the examples and pass the tag on", () => {
    const image = resolveImage("examples-bookinfo-reviews:v2", ROOT);
    expect(image.entrypoint).toEqual(["node", `${ROOT}/examples/bookinfo/reviews.ts`]);
    expect(image.env.WEFT_IMAGE_TAG).toBe("v2");
  });

  it("say what is known when a name is not", () => {
    expect(() => resolveImage("docker.io/no/such:1", ROOT)).toThrow(
      "is not known to the playground; known: weft, node",
    );
    expect(() => resolveImage("examples-bookinfo-nothing", ROOT)).toThrow("there is no examples/bookinfo/nothing.ts");
  });
});
