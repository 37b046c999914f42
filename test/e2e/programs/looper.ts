/**
 * Dials the target of the JSON in argv[2] again and again, one at a time, argv[3] times or until it is killed, and prints
 * a line of JSON for each.
 */
import { type DialResult, type DialTarget, dial } from "./dial.ts";

export interface Attempt {
  /** CLOCK_MONOTONIC in ms, which all processes of the machine share. */
  readonly at: number;
  readonly outcome: DialResult["outcome"];
  readonly server: string | undefined;
  /** One TCP connection from end to end: the server sees the client's own port, which no agent's connection has. */
  readonly direct: boolean;
  readonly connectMs: number;
  readonly bytes: number;
  readonly error: string | undefined;
}

const target = JSON.parse(process.argv[2] ?? "") as DialTarget;
const times = Number(process.argv[3] ?? Number.POSITIVE_INFINITY);
for (let i = 0; i < times; i++) {
  const at = Number(process.hrtime.bigint()) / 1e6;
  const { outcome, greeting, local, connectMs, answerBytes, error } = await dial(target);
  const direct = local !== undefined && local === greeting?.client;
  const attempt: Attempt = { at, outcome, server: greeting?.server, direct, connectMs, bytes: answerBytes, error };
  process.stdout.write(`${JSON.stringify(attempt)}\n`);
}
