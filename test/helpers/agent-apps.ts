/** Small programs for pods, run with `node -e`. */

/** On 8080: says who the client is and ends. On 8081: holds the connection open. */
export const SERVE = `
const { createServer } = require("node:net");
createServer((c) => { c.on("error", () => {}); c.end("from " + c.remoteAddress + "\\n"); }).listen(8080, "::");
createServer((c) => { c.on("error", () => {}); c.write("hello"); c.resume(); }).listen(8081, "::");`;

/** Connects to \`ip port\` and prints what comes, or the error's code. */
export const ASK = `
const [ip, port] = process.argv.slice(-2);
const c = require("node:net").connect({ host: ip, port: Number(port) });
c.on("data", (d) => process.stdout.write(d));
c.on("error", (e) => process.stdout.write(e.code));
c.setTimeout(8000, () => { process.stdout.write("timeout"); c.destroy(); });`;

/** Connects to \`ip port\`, prints "open" at the first data and "closed" at the end. */
export const HOLD = `
const [ip, port] = process.argv.slice(-2);
const c = require("node:net").connect({ host: ip, port: Number(port) });
c.on("data", () => process.stdout.write("open"));
c.on("error", () => {});
c.on("close", () => process.stdout.write("closed"));`;

/** Asks the name server \`ip\` for \`name type\` and prints the answer as JSON, or the error's code. */
export const RESOLVE = `
const [server, name, type] = process.argv.slice(-3);
const r = new (require("node:dns").promises.Resolver)({ timeout: 4000, tries: 1 });
r.setServers([server]);
r.resolve(name, type).then((a) => process.stdout.write(JSON.stringify(a)), (e) => process.stdout.write(e.code));`;
