import { startMlApi } from "./src/ml-api.ts";

const role = process.env.ROLE ?? "api";
const service = await startMlApi(role, Number(process.env.PORT ?? 9080));
process.stdout.write(`${role} listens on port ${service.port}\n`);
process.once("SIGTERM", () => void service.stop().then(() => process.exit(0)));
