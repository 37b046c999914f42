/** One POST to a collector. Rejects unless it was taken. */
export async function postSpans(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : Buffer.from(body),
    signal,
  });
  // Read to its end, so that the connection is used again.
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
}
