/** A watch event longer than this is no event of Kubernetes' (objects are limited to about 1.5 MB). */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

/** Splits a byte stream into its non-empty lines. A last line without an end is dropped: it is half an event. */
export async function* lines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of source) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const rest = chunk.subarray(start, end);
      const line = (pending.length === 0 ? rest : Buffer.concat([...pending, rest])).toString("utf8");
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      if (line !== "" && line !== "\r") yield line;
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      if (pendingBytes > MAX_LINE_BYTES) throw new RangeError(`a line of more than ${MAX_LINE_BYTES} bytes`);
    }
  }
}
