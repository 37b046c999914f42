/** Reads the text format of Prometheus, as far as counters and gauges need it. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

// A line ends with \n alone: values may have \r and what Unicode has of line ends.
const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/s;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)",?/gs;
const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** Lines that are no samples are passed over. */
export function* samples(text: string): Generator<Sample> {
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const [, name, labels = "", value = ""] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    yield { name, labels: labelsOf(labels), value: Number(value) };
  }
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, key = "", value = ""] of text.matchAll(LABEL)) {
    labels[key] = value.replace(/\\[n"\\]/g, (escaped) => ESCAPES[escaped] ?? escaped);
  }
  return labels;
}
