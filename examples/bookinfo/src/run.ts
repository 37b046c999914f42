/** Process side of a service: environment, signals, exit code. */
import { DEFAULT_PORT, type Env } from "./env.ts";
import { type Handler, startService } from "./http-service.ts";

/** Runs until SIGTERM or SIGINT; a second signal does not wait for open requests. */
export async function run(name: string, makeHandler: (env: Env) => Handler): Promise<void> {
  const env = process.env;
  const service = await startService(Number(env.PORT ?? DEFAULT_PORT), makeHandler(env));
  process.stdout.write(`${name} ${env.SERVICE_VERSION ?? "v1"} listens on port ${service.port}\n`);
  const stop = (): void => {
    process.once("SIGTERM", () => process.exit(1));
    void service.stop().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}
