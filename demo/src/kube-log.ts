/** Logs of pods, read as `kubectl logs` does. */
import { get } from "node:https";
import { text } from "node:stream/consumers";
import type { KubeAccess } from "#lib/kube/access.ts";

const OK = 200;

/** What the pod's only container has written, with what it wrote before its last restart. */
export async function podLog(access: KubeAccess, namespace: string, pod: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/pods/${pod}/log`;
  // There is no previous log without a restart: that request is refused.
  const previous = await fetchText(access, `${path}?previous=true`).catch(() => "");
  return previous + (await fetchText(access, path));
}

function fetchText(access: KubeAccess, path: string): Promise<string> {
  const { ca, cert, key } = access;
  return new Promise((resolve, reject) => {
    const request = get(`${access.server}${path}`, { ca, cert, key, agent: false }, (response) => {
      const body = text(response);
      if (response.statusCode === OK) resolve(body);
      else body.then((why) => reject(new Error(`GET ${path}: ${response.statusCode}: ${why.slice(0, 200)}`)), reject);
    });
    request.once("error", reject);
  });
}
