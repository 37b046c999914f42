/** Entry of `weft-control`. */
import { parseArgs } from "node:util";
import { pino } from "pino";
import { EnvError } from "#lib/env.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { KubeAccessError, KubeError } from "#lib/kube/errors.ts";
import { startControl } from "./app.ts";
import { BrokenSecretError } from "./ca/root-keeper.ts";
import { controlConfig } from "./config.ts";
import { ListenError } from "./http-server.ts";

const USAGE = `usage: weft-control

Runs the control plane until SIGTERM. Configured by environment variables.
`;
/** What the operator can mend. */
const OPERATORS_ERRORS = [EnvError, KubeAccessError, ListenError, BrokenSecretError];
/** After this the process ends even if something does not let go. */
const STOP_LIMIT_MS = 10_000;

const stopRequested = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stopRequested.abort(name));

try {
  const { values } = parseArgs({ options: { help: { type: "boolean", short: "h" } } });
  if (values.help === true) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  const config = controlConfig(process.env);
  const log = pino({
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: {
      err: (error: unknown) => (error instanceof KubeError ? error.message : pino.stdSerializers.err(error as Error)),
    },
  });
  const client = KubeClient.fromEnvironment(process.env);
  log.info({ node: process.version, api: client.server, namespace: config.mesh.rootNamespace }, "starting");
  const control = await startControl(config, { client, log, signal: stopRequested.signal });
  const { grpcPort, readyPort, metricsPort, admissionPort } = control;
  log.info({ grpcPort, readyPort, metricsPort, admissionPort }, "serving");
  if (!stopRequested.signal.aborted) {
    await new Promise((resolve) => stopRequested.signal.addEventListener("abort", resolve, { once: true }));
  }
  log.info({ signal: stopRequested.signal.reason }, "stopping");
  setTimeout(() => process.exit(1), STOP_LIMIT_MS).unref();
  await control.stop();
  log.info("stopped");
  process.exit(0);
} catch (error) {
  if (stopRequested.signal.aborted) process.exit(0);
  // What the operator can mend takes one line; anything else is a fault of ours.
  const known = isOfArguments(error) || OPERATORS_ERRORS.some((type) => error instanceof type);
  const text = error instanceof Error ? (known ? error.message : error.stack) : String(error);
  process.stderr.write(`weft-control: ${text}\n`);
  process.exit(1);
}

/** Of `parseArgs`. */
function isOfArguments(error: unknown): boolean {
  return error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS_");
}
