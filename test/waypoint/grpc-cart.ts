/** A gRPC service of grpc-js without a .proto, and a client of it: what counts is what is around the messages. */
import {
  type Client,
  credentials,
  Client as GrpcClient,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";

const bytes = (text: string): Buffer => Buffer.from(text);
const text = (buffer: Buffer): string => buffer.toString();

function method(path: string, requestStream = false, responseStream = false): MethodDefinition<string, string> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: text,
    responseSerialize: bytes,
    responseDeserialize: text,
  };
}

const CART = {
  get: method("/shop.Cart/Get"),
  fail: method("/shop.Cart/Fail"),
  list: method("/shop.Cart/List", false, true),
  talk: method("/shop.Cart/Talk", true, true),
};

/** What a call came to. */
export interface Outcome {
  readonly code: number;
  readonly details: string;
  readonly messages: readonly string[];
  readonly headers: Metadata;
  readonly trailers: Metadata;
}

/** One that answers with its name. */
export class CartServer {
  readonly name: string;
  readonly #server = new Server();
  /** What `Fail` was asked, each time. */
  readonly failed: string[] = [];

  private constructor(name: string) {
    this.name = name;
    const trailers = (): Metadata => {
      const metadata = new Metadata();
      metadata.set("x-trailer", name);
      return metadata;
    };
    this.#server.addService(CART, {
      get: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
        const headers = new Metadata();
        headers.set("x-heard", String(call.metadata.get("x-said")[0] ?? ""));
        call.sendMetadata(headers);
        done(null, `${name} ${call.request}`, trailers());
      },
      // "CODE TIMES": fails so often.
      fail: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
        const [code = 0, times = 0] = call.request.split(" ").map(Number);
        this.failed.push(call.request);
        if (this.failed.filter((each) => each === call.request).length > times) done(null, `${name} at last`);
        else done({ code, details: "as asked", metadata: trailers() });
      },
      list: (call: ServerWritableStream<string, string>) => {
        for (let i = 0; i < Number(call.request); i++) call.write(`${name} ${i}`);
        call.end(trailers());
      },
      talk: (call: ServerDuplexStream<string, string>) => {
        call.on("data", (message: string) => call.write(message));
        call.on("end", () => call.end(trailers()));
      },
    });
  }

  static async start(name: string, ip: string, port: number): Promise<CartServer> {
    const cart = new CartServer(name);
    await new Promise<void>((resolve, reject) => {
      cart.#server.bindAsync(`${ip}:${port}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    return cart;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

export class CartClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new GrpcClient(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  }

  close(): void {
    this.#client.close();
  }

  /** Any path; `headers` beside what gRPC has. */
  call(path: string, message: string, headers: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    return this.#outcome(path, [message], headers);
  }

  /** Each message after the answer to the one before. */
  talk(messages: readonly string[]): Promise<Outcome> {
    return this.#outcome(CART.talk.path, messages, {});
  }

  #outcome(path: string, messages: readonly string[], said: Readonly<Record<string, string>>): Promise<Outcome> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(said)) metadata.set(name, value);
    const call = this.#client.makeBidiStreamRequest<string, string>(path, bytes, text, metadata);
    const heard: string[] = [];
    let headers = new Metadata();
    return new Promise((resolve) => {
      const say = () => {
        const next = messages[heard.length];
        if (next === undefined || (path !== CART.talk.path && heard.length > 0)) call.end();
        else call.write(next);
        if (path !== CART.talk.path) call.end();
      };
      call.on("metadata", (each) => {
        headers = each;
      });
      call.on("data", (message: string) => {
        heard.push(message);
        if (path === CART.talk.path) say();
      });
      call.on("error", () => undefined);
      call.on("status", ({ code, details, metadata: trailers }) =>
        resolve({ code, details, messages: heard, headers, trailers }),
      );
      say();
    });
  }
}
