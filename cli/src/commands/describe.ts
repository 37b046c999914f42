/** `weft describe pod|service`: every resource that affects it, and what it does. */
import { analyze } from "../../../control/src/analysis/analyze.ts";
import { formatMessage } from "../../../control/src/analysis/message.ts";
import { keyOf } from "../../../control/src/model/meta.ts";
import { podEffects, podFactsText } from "../explain/describe-pod.ts";
import { serviceEffects, serviceFacts } from "../explain/describe-service.ts";
import type { Description, Effect } from "../explain/effect.ts";
import { livePictures } from "../explain/live.ts";
import { findParty } from "../explain/parties.ts";
import { keyOf as keyOfObject, type MeshPicture } from "../explain/picture.ts";
import { command, group } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";
import { tableText } from "../output/table.ts";

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
  run: (context, { args, flags }) => describe(context, `pod/${args[0] ?? ""}`, flags.file),
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
  run: (context, { args, flags }) => describe(context, `svc/${args[0] ?? ""}`, flags.file),
});

export const describeGroup = group({
  name: "describe",
  aliases: ["des"],
  summary: "show every resource that affects a pod or a Service",
  commands: [podCommand, serviceCommand],
});

async function describe(context: Context, party: string, files: readonly string[]): Promise<number> {
  const { now, later } = await livePictures(context, files);
  const description = descriptionOf(later ?? now, party, context.namespace() ?? "default");
  if (context.print.isData) context.print.data(description);
  else context.out(descriptionText(description, context));
  return EXIT.done;
}

function descriptionOf(picture: MeshPicture, party: string, namespace: string): Description {
  const { service, pods } = findParty(picture, party, namespace);
  const [pod] = pods;
  if (service !== undefined) {
    const effects = serviceEffects(picture, service);
    const about = { kind: "Service", name: keyOf(service) } as const;
    return {
      ...about,
      facts: serviceFacts(picture, service),
      effects,
      messages: messagesOf(picture, service.source, about.name, effects),
    };
  }
  if (pod === undefined) throw new Error(`no pod of ${party}`);
  const effects = podEffects(picture, pod);
  const about = { kind: "Pod", name: keyOfObject(pod) } as const;
  return {
    ...about,
    facts: podFactsText(picture, pod),
    effects,
    messages: messagesOf(picture, "Pod", about.name, effects),
  };
}

function messagesOf(
  { objects, settings }: MeshPicture,
  kind: string,
  name: string,
  effects: readonly Effect[],
): string[] {
  const wanted = new Set([`${kind} ${name}`, ...effects.map((effect) => `${effect.kind} ${effect.name}`)]);
  const messages = analyze(
    objects.map((object) => ({ object })),
    settings,
  );
  return messages
    .filter(({ origin }) =>
      wanted.has(`${origin.kind} ${origin.namespace === "" ? "" : `${origin.namespace}/`}${origin.name}`),
    )
    .map(formatMessage);
}

function descriptionText({ kind, name, facts, effects, messages }: Description, { paint }: Context): string {
  const width = Math.max(...facts.map(([label]) => label.length));
  const columns = [
    { title: "RESOURCE", of: (effect: Effect) => effect.kind },
    { title: "NAME", of: (effect: Effect) => effect.name },
    { title: "WHAT IT DOES", of: (effect: Effect) => effect.does },
  ];
  return [
    `${paint.strong(`${kind} ${name}`)}\n`,
    ...facts.map(([label, value]) => `  ${`${label}:`.padEnd(width + 1)} ${value}\n`),
    "\n",
    effects.length === 0 ? "No resource says anything of it.\n" : tableText(effects, columns, false),
    ...(messages.length === 0 ? [] : ["\n", ...messages.map((message) => `${message}\n`)]),
  ].join("");
}
