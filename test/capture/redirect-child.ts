/** Runs one BPF plane in a process of its own, in the network namespace of a node; driven over IPC by redirect-plane.ts. */
import { type BpfOptions, type BpfPlane, loadAddon } from "../../agent/src/native.ts";
import type { PlaneCall } from "./redirect-plane.ts";

let plane: BpfPlane | undefined;

function handle({ method, args }: PlaneCall): unknown {
  if (method === "load") {
    plane = loadAddon().loadBpf(args[0] as BpfOptions);
    return undefined;
  }
  if (method === "cleanup") return loadAddon().cleanupBpf(args[0] as string);
  if (plane === undefined) throw new Error("nothing is loaded");
  return (plane[method] as (...args: readonly unknown[]) => unknown)(...args);
}

process.on("message", (call: PlaneCall) => {
  try {
    process.send?.({ id: call.id, result: handle(call) });
  } catch (error) {
    process.send?.({ id: call.id, error: error instanceof Error ? error.message : String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
