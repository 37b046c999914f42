/** `weft verify` */
import { command } from "../../frame/command.ts";
import { EXIT } from "../../frame/errors.ts";
import { applyPart, current } from "../../install/apply.ts";
import { definitions, meshParts, nameOf } from "../../install/manifests.ts";
import { unfinished } from "../../install/rollout.ts";

export const verifyCommand = command({
  name: "verify",
  summary: "compare an installation with what this command would install, and see that it runs",
  cluster: true,
  flags: { image: { type: "string", value: "IMAGE", about: "what it was installed with" } },
  exitCodes: [[EXIT.failed, "something is missing, was changed, or does not run"]],
  examples: [["weft verify --image registry.example/weft:0.1.0", "After an installation"]],
  run: async (context, { flags }) => {
    const { client } = context.cluster();
    const { signal } = context;
    const faults: string[] = [];
    for (const part of [...definitions(), ...meshParts(flags.image)]) {
      const object = await current(part, client, signal);
      const left = unfinished(part, object);
      if (left !== undefined) faults.push(left);
      else if (object !== undefined && (await applyPart(part, { client, signal, dryRun: true })) === "configured") {
        faults.push(`${nameOf(part)} was changed`);
      }
    }
    for (const fault of faults) context.out(`${context.paint.bad("✘")} ${fault}\n`);
    if (faults.length > 0) {
      context.note("weft install puts it right");
      return EXIT.failed;
    }
    context.out(`${context.paint.good("✔")} everything is there and runs\n`);
    return EXIT.done;
  },
});
