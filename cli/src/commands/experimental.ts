/** `weft x …`: commands where istioctl's users look for them. */
import { group } from "../frame/command.ts";
import { authzGroup } from "./authz/index.ts";
import { describeGroup } from "./describe.ts";

export const experimentalGroup = group({
  name: "experimental",
  aliases: ["x", "exp"],
  summary: "the same commands where istioctl has them",
  commands: [authzGroup, describeGroup],
});
