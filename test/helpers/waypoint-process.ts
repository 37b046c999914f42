/** The real waypoint as a process. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LoggedProcess, PROCESS_ENV } from "./logged-process.ts";

const BIN = fileURLToPath(new URL("../../waypoint/bin/weft-waypoint", import.meta.url));

export class WaypointProcess extends LoggedProcess {
  /** Resolves when its HTTP servers are bound. */
  static async start(env: Readonly<Record<string, string>>, bin = BIN): Promise<WaypointProcess> {
    const child = spawn(bin, ["proxy", "waypoint", "--proxyLogLevel=warning"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...PROCESS_ENV, HBONE_ADDR: "127.0.0.1:0", XDS_ADDRESS: "", CA_ADDRESS: "", WEFT_LOOPS: "2", ...env },
    });
    const waypoint = new WaypointProcess(child);
    await waypoint.started();
    return waypoint;
  }

  /** Where the engine listens, by listener name; "hbone" for tunnels. */
  async port(listener: string): Promise<number> {
    const { text } = await this.get("admin", "/config_dump");
    const { listening } = JSON.parse(text) as { listening: Record<string, { port: number }> };
    const port = listening[listener]?.port;
    if (port === undefined) throw new Error(`no listener ${listener} in ${Object.keys(listening).join(", ")}`);
    return port;
  }
}
