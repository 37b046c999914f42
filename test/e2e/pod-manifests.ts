/** Pods of a playground that the wide tests talk between. */
import { programArgv } from "./pod-program.ts";

export interface PodPlace {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
}

export function namespaceText(name: string, isEnrolled: boolean): string {
  const mode = isEnrolled ? "ambient" : "none";
  return `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {istio.io/dataplane-mode: ${mode}}}\n`;
}

/** A pod to run things in, with a service account of its name. */
export function clientText(place: PodPlace): string {
  return podText(place, place.name, ["sleep", "infinity"], "");
}

/** A greeter on `port`, called `namespace/name` in its answers, with the labels `app` and `node`. */
export function serverText(place: PodPlace, app: string, port: number): string {
  const argv = programArgv("greeter", String(port), `${place.namespace}/${place.name}`);
  return podText(place, app, argv, `      readinessProbe: {tcpSocket: {port: ${port}}, periodSeconds: 1}\n`);
}

/** For the pods with these labels (`app: web`), over both families. `own` are its own labels. */
export function serviceText(
  namespace: string,
  name: string,
  labels: string,
  ports: { readonly port: number; readonly targetPort: number },
  more = "",
  own = "",
): string {
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}, labels: {${own}}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {${labels}}
  ports: [{name: tcp, port: ${ports.port}, targetPort: ${ports.targetPort}}]
${more}`;
}

/** A waypoint for services of every namespace. */
export function waypointText(namespace: string, name: string): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  gatewayClassName: weft-waypoint
  listeners:
    - {name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}
`;
}

function podText({ namespace, name, node }: PodPlace, app: string, argv: readonly string[], more: string): string {
  return `apiVersion: v1
kind: ServiceAccount
metadata: {name: ${name}, namespace: ${namespace}}
---
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {app: ${app}, node: ${node}}}
spec:
  nodeName: ${node}
  serviceAccountName: ${name}
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: node
      command: ${JSON.stringify(argv)}
${more}`;
}
