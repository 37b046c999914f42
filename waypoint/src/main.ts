/** Entry point: `weft-waypoint` runs one waypoint (or gateway) until SIGTERM. */
import { parseArgs } from "node:util";
import { releaseFilePages } from "#lib/addon.ts";
import { joinHostPort } from "#lib/address.ts";
import { errorText } from "#lib/log.ts";
import { terminationSignal } from "#lib/termination-signal.ts";
import { VERSION } from "#lib/version.ts";
import { startWaypoint } from "./app.ts";
import { loadConfig } from "./config.ts";
import { loadL7Addon } from "./native.ts";

const USAGE = `usage: weft-waypoint [proxy waypoint|router]

Runs a waypoint until SIGTERM. Configured by environment variables; \`proxy waypoint\` and the flags that Istio's proxy
is started with are taken and mean nothing.
`;

async function main(args: readonly string[]): Promise<number> {
  // Flags of Istio's proxy come with a value of their own or after "=": neither is ours to check.
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: false,
    options: { help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [command, role] = positionals;
  if (command !== undefined && (command !== "proxy" || (role !== "waypoint" && role !== "router"))) {
    process.stderr.write(USAGE);
    return 2;
  }
  const config = loadConfig(process.env, role === "router" ? "router" : "waypoint");
  const waypoint = await startWaypoint(config, { addon: loadL7Addon() });
  const log = waypoint.log.logger("waypoint");
  const { admin, metrics, ready } = waypoint.addresses;
  log.info("started", {
    version: VERSION,
    pod: config.podName,
    admin: joinHostPort(admin.host, admin.port),
    metrics: joinHostPort(metrics.host, metrics.port),
    ready: joinHostPort(ready.host, ready.port),
  });
  void waypoint.readiness.whenReady().then(() => {
    log.info("ready");
    log.debug("gave back pages of files", { bytes: releaseFilePages() });
  });
  await waypoint.close(await Promise.race([waypoint.quitRequested, terminationSignal()]));
  return 0;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`weft-waypoint: ${errorText(error)}\n`);
  process.exit(1);
}
