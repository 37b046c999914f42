import { group } from "../../frame/command.ts";
import { checkCommand } from "./check.ts";
import { explainCommand } from "./explain.ts";

export const authzGroup = group({
  name: "authz",
  summary: "say who may do what, and which policy decides",
  commands: [checkCommand, explainCommand],
});
