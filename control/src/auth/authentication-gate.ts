/**
 * Nothing of a call's messages is read before its token is known to be good: a stranger can make us hold the headers of a
 * call, and no more, however large its messages are.
 */
import {
  type Metadata,
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type status,
} from "@grpc/grpc-js";
import type { CallerIdentity, TokenAuthenticator } from "./token-authenticator.ts";

/** What a refused caller is told. */
export interface Refusal {
  readonly code: status;
  readonly details: string;
}

/** A service that words, logs and counts its refusals. */
export interface Refuser {
  refusal(error: unknown, peer: string): Refusal;
}

/** `refusers`: by the path of a method. A method that is not among them is nobody's. */
export function authenticationGate(
  authenticator: TokenAuthenticator,
  refusers: ReadonlyMap<string, Refuser>,
): ServerInterceptor {
  return ({ path }, call) => {
    const responder = new ResponderBuilder()
      .withStart((next) => {
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, proceed) => {
          authenticateCall(authenticator, metadata, call.getPeer()).then(
            () => proceed(metadata),
            (error: unknown) => {
              const refusal = refusers.get(path)?.refusal(error, call.getPeer());
              if (refusal === undefined) proceed(metadata);
              else call.sendStatus({ ...refusal });
            },
          );
        });
        next(listener.build());
      })
      .build();
    return new ServerInterceptingCall(call, responder);
  };
}

/** By the headers of a call. `peer` is `address:port`. */
export function authenticateCall(
  authenticator: TokenAuthenticator,
  metadata: Metadata,
  peer: string,
): Promise<CallerIdentity> {
  const text = (key: string) => metadata.get(key)[0]?.toString();
  return authenticator.authenticate(text("authorization"), text("clusterid"), peer.slice(0, peer.lastIndexOf(":")));
}
