import { defineConfig } from "vitest/config";

// Two projects: `unit` needs nothing but Node; `system` needs root, a kernel with BPF and makes network namespaces.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{lib,agent,waypoint,control,cli,playground,examples,demo,bench,docs}/**/*.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "system",
          include: ["test/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
