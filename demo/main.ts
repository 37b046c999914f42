/**
 * `make demo`: the mesh on this machine, told in five acts and checked. Stays up until Ctrl-C; ONCE=1 ends by itself, with
 * exit code 1 when something that was claimed was not true.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Claim, Claims, must } from "./src/claims.ts";
import { direct } from "./src/direct-act.ts";
import { Layout } from "./src/layout.ts";
import { leftovers, startStage } from "./src/playground-stage.ts";
import type { Stage } from "./src/stage.ts";
import { deploy, policy, strict, traffic } from "./src/story.ts";
import { waypoint } from "./src/waypoint-act.ts";

const NAME = "demo";
const once = process.env.ONCE === "1";
const layout = new Layout(process.stdout.isTTY === true && process.env.NO_COLOR === undefined);
const claims = new Claims(tell);
const interrupted = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function tell({ text, holds, seen }: Claim): void {
  const mark = holds ? layout.paint("✓", "green") : layout.paint("✗", "red");
  say(`  ${mark} ${text} ${layout.paint(`(${seen})`, "dim")}`);
}

async function main(): Promise<number> {
  if (process.geteuid?.() !== 0)
    throw new Error("makes network namespaces and loads BPF: run it as root, sudo make demo");
  let wasCutShort = false;
  say(layout.heading("Starting a playground: a Kubernetes API, two nodes, the control plane, an agent per node"));
  const stage = await startStage(NAME);
  try {
    const told = tellStory(stage).then(() => "told" as const);
    // Ctrl-C in the middle ends the demo orderly too.
    const ending = await Promise.race([told, interrupted.then(() => "interrupted" as const)]);
    wasCutShort = ending === "interrupted";
    if (ending === "told" && !once) {
      say(explore(stage));
      await interrupted;
    }
    // Cut short, the rest of the story fails on what is taken down now: nobody's concern.
    told.catch(() => undefined);
  } catch (error) {
    process.stderr.write(`${await stage.systemLog().catch(String)}\n`);
    throw error;
  } finally {
    say("\ntaking everything down");
    await stage.down();
  }
  if (wasCutShort) return 1;
  await claims.check("nothing is left behind", () => {
    const left = leftovers(NAME);
    must(left.length === 0, left.join(", "));
    return "no namespace, link, cgroup, pinned program or file";
  });
  say(summary());
  return claims.failed.length === 0 ? 0 : 1;
}

async function tellStory(stage: Stage): Promise<void> {
  const options = { stage, claims, layout, say };
  const cast = await deploy(options);
  await traffic(options, cast);
  await direct(options, cast);
  await strict(options, cast);
  await policy(options, cast);
  await waypoint(options, cast);
}

function explore(stage: Stage): string {
  const code = (text: string): string => layout.paint(text, "cyan");
  return `${layout.heading("It stays up until Ctrl-C, with STRICT in force. In another terminal, as root:")}
  ${code(`export KUBECONFIG=${stage.kubeconfig}`)}
  ${hasKubectl() ? "" : `kubectl is not installed: ${code("apt-get install kubernetes-client")}\n  `}${stage.nodes.map((node) => `metrics of ${node.name}: ${code(node.metricsUrl)}`).join("\n  ")}

  1. who is in the mesh         ${code("kubectl -n bookinfo get pods -o wide")}
  2. let only productpage in    ${code("kubectl apply -f examples/bookinfo/policies/details-for-productpage.yaml")}
     then, refused by name      ${code("kubectl -n bookinfo exec shopper -- curl -sS http://details:9080/details/0")}
  3. out of the mesh and back   ${code("kubectl label namespace bookinfo istio.io/dataplane-mode-")}
                                ${code("kubectl label namespace bookinfo istio.io/dataplane-mode=ambient")}
  4. who talks without a proxy  ${code(`kubectl -n istio-system logs -l app=weft-agent --tail=-1 | grep 'direction="direct"'`)}
  5. routes, faults and tokens  ${code("kubectl apply -f examples/bookinfo/gateway-api/waypoint.yaml")}, then as docs/guides/bookinfo.md has it
`;
}

function hasKubectl(): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, "kubectl")));
}

function summary(): string {
  const failed = claims.failed.length;
  const text =
    failed === 0 ? `all ${claims.all.length} claims hold` : `${failed} of ${claims.all.length} claims do not hold`;
  return `\n${layout.paint(text, failed === 0 ? "green" : "red")}`;
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
