/** Carries `weft describe` out. */
import { analyze } from "../../../control/src/analysis/analyze.ts";
import { formatMessage } from "../../../control/src/analysis/message.ts";
import { keyOf } from "../../../control/src/model/meta.ts";
import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";
import { tableText } from "../output/table.ts";
import { podEffects, podFactsText } from "./describe-pod.ts";
import { serviceEffects, serviceFacts } from "./describe-service.ts";
import type { Description, Effect } from "./effect.ts";
import { livePictures } from "./live.ts";
import { findParty } from "./parties.ts";
import { keyOf as keyOfObject, type MeshPicture } from "./picture.ts";

export async function runDescribe(context: Context, party: string, files: readonly string[]): Promise<number> {
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
