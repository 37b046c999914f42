/** Probes: http, tcp and exec, from the kubelet's own sockets. */

import http from "node:http";
import https from "node:https";
import net from "node:net";
import { pause } from "#lib/backoff.ts";
import type { Container, Probe } from "../kinds/types.ts";

export interface ProbeTarget {
  readonly container: Container;
  readonly podIp: string;
  /** Runs a command in the container; resolves with its exit code. */
  exec(command: readonly string[], timeoutMs: number): Promise<number>;
}

/** Undefined when the probe succeeded, else why not. */
export async function probeOnce(probe: Probe, target: ProbeTarget): Promise<string | undefined> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.httpGet !== undefined) return httpProbe(probe.httpGet, target, timeoutMs);
  if (probe.tcpSocket !== undefined) {
    const { host, port } = probe.tcpSocket;
    return tcpProbe(host ?? target.podIp, portNumber(port, target.container), timeoutMs);
  }
  if (probe.exec !== undefined) {
    const code = await target.exec(probe.exec.command, timeoutMs);
    return code === 0 ? undefined : `command exited with ${code}`;
  }
  return "the playground offers http, tcp and exec probes";
}

function portNumber(port: number | string, container: Container): number {
  if (typeof port === "number") return port;
  return container.ports?.find((each) => each.name === port)?.containerPort ?? Number(port);
}

function httpProbe(
  get: NonNullable<Probe["httpGet"]>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<string | undefined> {
  const isTls = get.scheme === "HTTPS";
  const headers = Object.fromEntries((get.httpHeaders ?? []).map((each) => [each.name, each.value]));
  const options = {
    host: get.host ?? target.podIp,
    port: portNumber(get.port, target.container),
    path: get.path ?? "/",
    headers: { "user-agent": "kube-probe/1.34", accept: "*/*", ...headers },
    // Each probe opens a connection of its own, as kubelet's do.
    agent: false as const,
    timeout: timeoutMs,
  };
  return new Promise((resolve) => {
    const request = isTls ? https.get({ ...options, rejectUnauthorized: false }) : http.get(options);
    const limit = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on("response", (response) => {
      response.resume();
      const code = response.statusCode ?? 0;
      clearTimeout(limit);
      resolve(code >= 200 && code < 400 ? undefined : `HTTP probe failed with statuscode: ${code}`);
    });
    request.on("error", (error) => {
      clearTimeout(limit);
      resolve(error.message);
    });
  });
}

function tcpProbe(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const end = (why: string | undefined) => {
      clearTimeout(limit);
      socket.destroy();
      resolve(why);
    };
    const limit = setTimeout(() => end(`no connection within ${timeoutMs} ms`), timeoutMs);
    socket.on("connect", () => end(undefined));
    socket.on("error", (error) => end(error.message));
  });
}

/** While a container is young and has not been ready yet, it is asked this often at most. */
const EAGER_PERIOD_MS = 100;
/** How long it counts as young. */
const EAGER_FOR_MS = 10_000;

export interface ProbeEvents {
  /** Called when the verdict changes, and not before the first. */
  onResult(isSuccess: boolean): void;
  onFailure(message: string): void;
}

/**
 * Runs one probe until the signal aborts. With `isEager` the first success is looked for more often than the period
 * says, so that a pod counts as ready soon after it is.
 */
export async function runProbe(
  probe: Probe,
  target: ProbeTarget,
  options: { isEager: boolean; signal: AbortSignal },
  events: ProbeEvents,
): Promise<void> {
  const { signal } = options;
  const periodMs = (probe.periodSeconds ?? 10) * 1000;
  const begun = performance.now();
  let successes = 0;
  let failures = 0;
  let verdict: boolean | undefined;
  // A probe that may kill waits for one period at least, so that a slow start is not a failure.
  await pause(Math.max((probe.initialDelaySeconds ?? 0) * 1000, options.isEager ? 0 : periodMs), signal);
  while (!signal.aborted) {
    const isYoung = options.isEager && verdict === undefined && performance.now() - begun < EAGER_FOR_MS;
    const why = await probeOnce(probe, target);
    if (signal.aborted) return;
    if (why === undefined) {
      failures = 0;
      successes += 1;
      if (verdict !== true && successes >= (probe.successThreshold ?? 1)) {
        verdict = true;
        events.onResult(true);
      }
    } else if (!isYoung) {
      successes = 0;
      failures += 1;
      events.onFailure(why);
      if (verdict !== false && failures >= (probe.failureThreshold ?? 3)) {
        verdict = false;
        events.onResult(false);
      }
    }
    await pause(isYoung && why !== undefined ? Math.min(EAGER_PERIOD_MS, periodMs) : periodMs, signal);
  }
}
