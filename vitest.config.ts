import { defineConfig } from "vitest/config";

// `unit` needs nothing but Node; `system` needs root, a kernel with BPF and makes network namespaces; `cluster` needs what
// `make cluster-up` starts.
const CLUSTER = "test/cluster/mesh*.test.ts";
// What `make addon-arm64` builds, by qemu.
const ARM64 = "test/arm64/*.test.ts";

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
          exclude: [CLUSTER, ARM64],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "arm64",
          include: [ARM64],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "cluster",
          include: [CLUSTER],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
