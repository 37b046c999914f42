/** Entry point: `weft-agent` runs the agent, `weft-agent cleanup` removes everything that it put into the kernel. */
import { parseArgs } from "node:util";
import { releaseFilePages } from "#lib/addon.ts";
import { joinHostPort } from "#lib/address.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { errorText } from "#lib/log.ts";
import { terminationSignal } from "#lib/termination-signal.ts";
import { VERSION } from "#lib/version.ts";
import { startAgent } from "./app.ts";
import { loadConfig, pinDirFromEnv } from "./config.ts";
import { loadAddon } from "./native.ts";

const USAGE = `usage: weft-agent [proxy ztunnel | cleanup]

Without a command, or with ztunnel's: runs the agent of this node until SIGTERM. Configured by environment variables.
cleanup: removes every BPF link, map and program of the agent from this node. Stop the agent first.
`;

const COMMANDS = ["", "proxy ztunnel", "cleanup"];

async function main(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { help: { type: "boolean", short: "h" } },
  });
  const command = positionals.join(" ");
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (!COMMANDS.includes(command)) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (process.geteuid?.() !== 0) throw new Error("must run as root: it loads BPF programs and enters pods' namespaces");
  return command === "cleanup" ? cleanup() : run();
}

function cleanup(): number {
  const pinDir = pinDirFromEnv(process.env);
  const found = loadAddon().cleanupBpf(pinDir);
  process.stdout.write(found ? `removed everything below ${pinDir}\n` : `nothing below ${pinDir}\n`);
  return 0;
}

async function run(): Promise<number> {
  const config = loadConfig(process.env);
  const kube = KubeClient.fromEnvironment(process.env);
  const agent = await startAgent(config, { addon: loadAddon(), kube });
  const log = agent.log.logger("agent");
  const { admin, metrics, ready } = agent.addresses;
  log.info("started", {
    version: VERSION,
    node: config.nodeName,
    admin: joinHostPort(admin.host, admin.port),
    metrics: joinHostPort(metrics.host, metrics.port),
    ready: joinHostPort(ready.host, ready.port),
  });
  void agent.readiness.whenReady().then(() => {
    log.info("ready");
    log.debug("gave back pages of files", { bytes: releaseFilePages() });
  });
  const reason = await Promise.race([agent.quitRequested, terminationSignal()]);
  await agent.close(reason);
  return 0;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`weft-agent: ${errorText(error)}\n`);
  process.exit(1);
}
