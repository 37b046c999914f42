/**
 * Asks the container runtime to tell of each new sandbox and to wait for our answer: a pod is in the mesh before a container
 * of it is made. We answer after a second at the latest, whatever has become of the pod, and never with an error: no pod waits
 * for longer or fails because of us. Without a runtime that offers this, nothing is lost but the certainty that nobody waits.
 */
import { createConnection, type Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Backoff, pause } from "#lib/backoff.ts";
import { errorText, type Logger } from "#lib/log.ts";
import {
  ConfigureRequestSchema,
  ConfigureResponseSchema,
  Event,
  RegisterPluginRequestSchema,
  RunPodSandboxRequestSchema,
  StateChangeEventSchema,
  TtrpcRequestSchema,
  TtrpcResponseSchema,
} from "#proto/nri_pb.ts";
import {
  encodeMessage,
  type Message,
  MessageReader,
  PLUGIN_CONNECTION,
  REQUEST,
  RESPONSE,
  RUNTIME_CONNECTION,
} from "./frames.ts";

export interface NriPluginOptions {
  /** The runtime's socket. */
  readonly socketPath: string;
  /** A pod's sandbox runs. Resolves when the pod may go on, by the signal at the latest. */
  readonly onSandbox: (uid: string, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
}

const API = "nri.pkg.api.v1alpha1";
const PLUGIN_NAME = "weft";
/** Late: other plugins may still have to do with the sandbox. */
const PLUGIN_INDEX = "90";
/** The longest that a sandbox waits for us; less where the runtime's own patience is shorter than twice that. */
const PATIENCE_MS = 1000;
/** Offered or not, a runtime may be restarted with another configuration. */
const RETRY_MS = [1000, 60_000] as const;
const UNIMPLEMENTED = 12;
const NOTHING = new Uint8Array();

/** Runs until the signal aborts. */
export async function runNriPlugin(options: NriPluginOptions, signal: AbortSignal): Promise<void> {
  const backoff = new Backoff(...RETRY_MS);
  while (!signal.aborted) {
    try {
      await new Session(options, () => backoff.reset()).run(signal);
      options.log.info("the container runtime has ended the connection");
    } catch (error) {
      options.log.debug("no container runtime tells of new pods", { error: errorText(error) });
    }
    await pause(backoff.next(), signal);
  }
}

/** One connection to the runtime. */
class Session {
  readonly #options: NriPluginOptions;
  readonly #registered: () => void;
  readonly #socket: Socket;
  readonly #reader = new MessageReader();
  #patienceMs = PATIENCE_MS;

  constructor(options: NriPluginOptions, registered: () => void) {
    this.#options = options;
    this.#registered = registered;
    this.#socket = createConnection(options.socketPath);
  }

  /** Resolves when the runtime ends it, or the signal does; rejects when it fails. */
  async run(signal: AbortSignal): Promise<void> {
    const socket = this.#socket;
    const end = () => socket.destroy();
    signal.addEventListener("abort", end, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.on("connect", () => this.#register());
        socket.on("data", (bytes: Buffer) => {
          try {
            for (const message of this.#reader.push(bytes)) this.#take(message, signal);
          } catch (error) {
            socket.destroy(error as Error);
          }
        });
        socket.on("error", reject);
        socket.on("close", () => resolve());
      });
    } finally {
      signal.removeEventListener("abort", end);
      socket.destroy();
    }
  }

  #register(): void {
    const plugin = create(RegisterPluginRequestSchema, { pluginName: PLUGIN_NAME, pluginIdx: PLUGIN_INDEX });
    const payload = toBinary(
      TtrpcRequestSchema,
      create(TtrpcRequestSchema, {
        service: `${API}.Runtime`,
        method: "RegisterPlugin",
        payload: toBinary(RegisterPluginRequestSchema, plugin),
      }),
    );
    this.#send({ connection: RUNTIME_CONNECTION, stream: 1, type: REQUEST, payload });
  }

  #take({ connection, stream, type, payload }: Message, signal: AbortSignal): void {
    if (connection === RUNTIME_CONNECTION && type === RESPONSE) {
      const { status } = fromBinary(TtrpcResponseSchema, payload);
      if (status !== undefined && status.code !== 0) throw new Error(`the runtime refuses us: ${status.message}`);
      this.#registered();
      this.#options.log.info("the container runtime tells of new pods", { socket: this.#options.socketPath });
      return;
    }
    if (connection !== PLUGIN_CONNECTION || type !== REQUEST) return;
    const request = fromBinary(TtrpcRequestSchema, payload);
    const answer = (code: number, bytes: Uint8Array) => this.#answer(stream, code, bytes);
    switch (request.method) {
      case "Configure":
        answer(0, this.#configure(request.payload));
        return;
      case "Synchronize":
      case "Shutdown":
        answer(0, NOTHING);
        return;
      case "StateChange": {
        const { event, pod } = fromBinary(StateChangeEventSchema, request.payload);
        void this.#sandbox(event === Event.RUN_POD_SANDBOX ? pod?.uid : undefined, signal).then(() =>
          answer(0, NOTHING),
        );
        return;
      }
      case "RunPodSandbox": {
        const { pod } = fromBinary(RunPodSandboxRequestSchema, request.payload);
        void this.#sandbox(pod?.uid, signal).then(() => answer(0, NOTHING));
        return;
      }
      default:
        answer(UNIMPLEMENTED, NOTHING);
    }
  }

  #configure(payload: Uint8Array): Uint8Array {
    const { requestTimeout } = fromBinary(ConfigureRequestSchema, payload);
    if (requestTimeout > 0n) this.#patienceMs = Math.min(PATIENCE_MS, Number(requestTimeout) / 2);
    const events = 1 << (Event.RUN_POD_SANDBOX - 1);
    return toBinary(ConfigureResponseSchema, create(ConfigureResponseSchema, { events }));
  }

  async #sandbox(uid: string | undefined, signal: AbortSignal): Promise<void> {
    if (uid === undefined || uid === "") return;
    const patience = AbortSignal.any([signal, AbortSignal.timeout(this.#patienceMs)]);
    try {
      await this.#options.onSandbox(uid, patience);
    } catch (error) {
      this.#options.log.warn("a new pod is let go on as it is", { uid, error: errorText(error) });
    }
  }

  #answer(stream: number, code: number, bytes: Uint8Array): void {
    const payload = toBinary(TtrpcResponseSchema, create(TtrpcResponseSchema, { status: { code }, payload: bytes }));
    this.#send({ connection: PLUGIN_CONNECTION, stream, type: RESPONSE, payload });
  }

  #send(message: Message): void {
    if (this.#socket.writable) this.#socket.write(encodeMessage(message));
  }
}
