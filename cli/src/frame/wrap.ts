/** Breaks paragraphs into lines of at most `width` characters; lines that begin with a space are kept as they are. */
export function wrap(text: string, width: number): string {
  return text
    .trim()
    .split(/\n\n/)
    .map((paragraph) => (/^ /m.test(paragraph) ? paragraph : filled(paragraph, width)))
    .join("\n\n");
}

function filled(paragraph: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of paragraph.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}
