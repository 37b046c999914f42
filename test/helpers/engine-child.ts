/** Runs one engine in a process of its own; driven over IPC by engine-process.ts. */
import { type BpfPlane, type Engine, loadAddon } from "../../agent/src/native.ts";
import type { EngineCall, EngineStart } from "./engine-process.ts";

let engine: Engine | undefined;
let bpf: BpfPlane | null = null;

function start(options: EngineStart): void {
  const addon = loadAddon();
  bpf = options.bpf === undefined ? null : addon.loadBpf(options.bpf);
  engine = addon.createEngine({ ...options.engine, onEvents: (events) => process.send?.({ events }) }, bpf);
}

async function handle(call: EngineCall): Promise<unknown> {
  if (call.method === "start") return start(call.args[0]);
  if (engine === undefined) throw new Error("the engine was not started");
  switch (call.method) {
    case "addPod":
      return engine.addPod(call.args[0]);
    case "removePod":
      return engine.removePod(call.args[0]);
    case "apply":
      return engine.apply(call.args[0]);
    case "connections":
      return engine.connections();
    case "stats":
      return engine.stats();
    case "drain":
      return engine.drain(call.args[0]);
    case "capture":
      return bpf?.capture(call.args[0]);
    case "release":
      return bpf?.release(call.args[0]);
    case "counters":
      return bpf?.counters();
    case "stop": {
      engine.close();
      bpf?.close();
      return undefined;
    }
  }
}

process.on("message", (message: EngineCall) => {
  handle(message).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: Error) => process.send?.({ id: message.id, error: error.stack ?? error.message }),
  );
});
process.on("disconnect", () => process.exit(0));
