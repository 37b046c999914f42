/** `weft describe pod|service`: every resource that affects it, and what it does. */
import { command, group } from "../frame/command.ts";

const FLAGS = {
  file: { type: "string", short: "f", multiple: true, value: "FILE", about: "manifests that are not applied yet" },
} as const;

const podCommand = command({
  name: "pod",
  aliases: ["po", "pods"],
  summary: "show every resource that affects a pod, and what it does",
  args: [{ name: "POD", about: "web-1, shop/web-1, web-1.shop, or the name of a workload" }],
  flags: FLAGS,
  cluster: true,
  output: ["table", "json", "yaml"],
  examples: [
    ["weft describe pod web-1 -n shop", "In namespace shop"],
    ["weft describe pod web-1.shop -f new-policy.yaml", "As it would be with a file"],
  ],
  run: async (context, { args, flags }) =>
    (await import("../explain/run-describe.ts")).runDescribe(context, `pod/${args[0] ?? ""}`, flags.file),
});

const serviceCommand = command({
  name: "service",
  aliases: ["svc", "services"],
  summary: "show every resource that affects a Service or a ServiceEntry's host, and what it does",
  args: [{ name: "SERVICE", about: "db, shop/db, db.shop, or a host name" }],
  flags: FLAGS,
  cluster: true,
  output: ["table", "json", "yaml"],
  examples: [["weft describe service reviews -n bookinfo", "Routes, subsets and policies of reviews"]],
  run: async (context, { args, flags }) =>
    (await import("../explain/run-describe.ts")).runDescribe(context, `svc/${args[0] ?? ""}`, flags.file),
});

export const describeGroup = group({
  name: "describe",
  aliases: ["des"],
  summary: "show every resource that affects a pod or a Service",
  commands: [podCommand, serviceCommand],
});
