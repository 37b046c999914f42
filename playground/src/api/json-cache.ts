/** Objects as JSON text, made once however many clients list or watch them. */
import type { Obj } from "./objects.ts";

const texts = new WeakMap<Obj, string>();

/** Stored objects never change, so their text does not either. */
export function jsonOf(object: Obj): string {
  let text = texts.get(object);
  if (text === undefined) {
    text = JSON.stringify(object);
    texts.set(object, text);
  }
  return text;
}
