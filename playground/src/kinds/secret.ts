/** Secrets: `stringData` is a way of writing only. */
import { isRecord } from "../api/objects.ts";
import type { KindRules } from "./rules.ts";

export const secretRules: KindRules = {
  defaults(object) {
    object.type ??= "Opaque";
    if (!isRecord(object.stringData)) return;
    const data = isRecord(object.data) ? object.data : {};
    for (const [key, value] of Object.entries(object.stringData)) {
      data[key] = Buffer.from(String(value)).toString("base64");
    }
    object.data = data;
    delete object.stringData;
  },
};
