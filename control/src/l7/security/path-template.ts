/** Paths in policies with `{*}` for one element and `{**}` for any number of them. */
import { escapeRegex } from "../regex.ts";

const ELEMENT = "{*}";
const REST = "{**}";

export function isPathTemplate(path: string): boolean {
  return path.includes("{") || path.includes("}");
}

/** A regular expression for the whole path, or why the template makes no sense. */
export function templateRegex(template: string): { readonly regex: string } | { readonly problem: string } {
  if (!template.startsWith("/")) return { problem: "a path template must begin with /" };
  let rest = false;
  const elements: string[] = [];
  for (const element of template.slice(1).split("/")) {
    if (element === ELEMENT || element === REST) {
      if (rest) return { problem: `nothing may be left open after ${REST}` };
      rest = element === REST;
      elements.push(rest ? ".*" : "[^/]+");
    } else if (/[{}*]/.test(element)) {
      return { problem: `${ELEMENT} and ${REST} must be whole elements, without other stars or braces` };
    } else {
      elements.push(escapeRegex(element));
    }
  }
  return { regex: `/${elements.join("/")}` };
}
