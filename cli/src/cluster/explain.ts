/** What went wrong between us and a cluster, in one line with what to do. */
import { KubeAccessError, KubeError } from "#lib/kube/errors.ts";
import type { Cluster } from "../frame/context.ts";
import { EXIT, Failure } from "../frame/errors.ts";

/** Errors of kube access become a Failure; others stay what they are. */
export function explained(error: unknown, cluster: Cluster | undefined): unknown {
  if (error instanceof KubeAccessError) return accessFailure(error.message, undefined, error);
  if (!(error instanceof KubeError)) return error;
  const where = cluster === undefined ? "the cluster" : cluster.description;
  switch (error.status) {
    case 0:
      if (error.reason === "PortForward") {
        return new Failure(error.message, "is the pod ready, and of a version that listens there?", { cause: error });
      }
      if (isOfTls(error)) {
        return accessFailure(
          `the Kubernetes API at ${cluster?.access.server ?? "?"} cannot be trusted: ${causeOf(error)}`,
          `is the certificate-authority of ${where} that of this cluster?`,
          error,
        );
      }
      return accessFailure(
        `no answer from the Kubernetes API at ${cluster?.access.server ?? "?"}: ${causeOf(error)}`,
        `is it running, and is ${where} the right one?`,
        error,
      );
    case 401:
      return accessFailure(
        `the cluster does not know you by ${where}`,
        "log in anew, or choose another --context",
        error,
      );
    case 403:
      return accessFailure(
        `not allowed: ${detail(error)}`,
        "ask for a role that allows it, or choose another --context",
        error,
      );
    default:
      return new Failure(`the cluster refuses: ${detail(error)}`, undefined, { cause: error });
  }
}

function accessFailure(what: string, todo: string | undefined, cause: unknown): Failure {
  return new Failure(what, todo, { exitCode: EXIT.access, cause });
}

/** Node's codes of certificates that do not verify. */
const TLS_CODES = /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_CERT_\w+)$/;

function isOfTls({ cause }: KubeError): boolean {
  return TLS_CODES.test((cause as { code?: string } | undefined)?.code ?? "");
}

/** Kubernetes' own sentence, without the path of the request. */
function detail(error: KubeError): string {
  return error.message.slice(error.path.length + 2).replace(/^\d+ \w+: /, "");
}

function causeOf(error: KubeError): string {
  const cause = error.cause;
  const code = (cause as { code?: string } | undefined)?.code;
  // An AggregateError of both address families has an empty message.
  const message = cause instanceof Error && cause.message !== "" ? cause.message : (code ?? "unreachable");
  return message;
}
