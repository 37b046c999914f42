/** A port on this machine that leads to a port of a pod. */
import { once } from "node:events";
import net from "node:net";
import { pipeline } from "node:stream";
import { connectToPod } from "#lib/kube/port-forward.ts";
import type { Context } from "../frame/context.ts";
import { Failure } from "../frame/errors.ts";
import { explained } from "./explain.ts";

export interface Target {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

export interface LocalAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** Listens until Ctrl-C; `onReady` is told the port. The first connection is tried before, so that a refusal shows at once. */
export async function forward(
  context: Context,
  target: Target,
  local: LocalAddress,
  onReady: (port: number) => void,
): Promise<void> {
  const { access } = context.cluster();
  const connect = () => connectToPod(access, target, target.port, context.signal);
  (await connect()).destroy();
  const complain = (error: unknown) => {
    const why = explained(error, context.cluster());
    context.note(why instanceof Error ? why.message : String(why));
  };
  const server = net.createServer((client) => {
    connect().then(
      // Either end closes both; only what the kubelet says of the port is news.
      (pod) => pipeline(client, pod, client, () => pod.errored === null || complain(pod.errored)),
      (error: unknown) => {
        client.destroy();
        complain(error);
      },
    );
  });
  server.listen(local);
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    const todo = error.code === "EADDRINUSE" ? "choose another --port" : undefined;
    throw new Failure(`cannot listen on ${local.host}:${local.port}: ${error.message}`, todo, { cause: error });
  });
  onReady((server.address() as net.AddressInfo).port);
  if (!context.signal.aborted) await once(context.signal, "abort");
  server.close();
}
