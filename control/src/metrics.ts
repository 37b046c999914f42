/** What the control plane counts, under the names that people already graph where the meaning is the same. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { CertificateMetrics } from "./ca/certificate-service.ts";
import type { MeshModel } from "./model/mesh-model.ts";
import type { AdsMetrics } from "./xds/ads-service.ts";

export class ControlMetrics {
  readonly registry = new Registry();
  readonly ads: AdsMetrics;
  readonly certificates: CertificateMetrics;
  readonly #flush: Histogram;
  readonly #convergence: Histogram;
  readonly #rootExpiry: Gauge;

  constructor(model: () => MeshModel) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    const connected = new Gauge({ name: "pilot_xds", help: "Clients connected over xDS.", registers });
    const pushes = new Counter({ name: "pilot_xds_pushes", help: "Responses sent.", labelNames: ["type"], registers });
    const rejects = new Counter({
      name: "pilot_total_xds_rejects",
      help: "Responses of which a client refused a part.",
      labelNames: ["type"],
      registers,
    });
    const refused = new Counter({ name: "weft_xds_refused_streams_total", help: "Streams refused.", registers });
    this.ads = {
      connected: (count) => connected.set(count),
      pushed: (type) => pushes.inc({ type: type.slice(type.lastIndexOf(".") + 1) }),
      // A client chooses this text: only what is served may become a label.
      rejected: (type) => rejects.inc({ type: /\.(Address|Authorization)$/.exec(type)?.[1] ?? "unknown" }),
      refused: () => refused.inc(),
    };
    const requests = new Counter({ name: "citadel_server_csr_count", help: "Certificates asked for.", registers });
    const issued = new Counter({
      name: "citadel_server_success_cert_issuance_count",
      help: "Certificates issued.",
      registers,
    });
    const refusals = new Counter({
      name: "weft_certificate_refusals_total",
      help: "Certificates refused, by reason.",
      labelNames: ["reason"],
      registers,
    });
    this.certificates = {
      requested: () => requests.inc(),
      issued: () => issued.inc(),
      refused: (reason) => refusals.inc({ reason }),
    };
    this.#flush = new Histogram({
      name: "weft_model_flush_seconds",
      help: "Time to derive what a batch of changes touches.",
      buckets: [0.0001, 0.001, 0.01, 0.1, 1, 10],
      registers,
    });
    this.#convergence = new Histogram({
      name: "pilot_proxy_convergence_time",
      help: "Seconds from the first change of a batch until its push was handed to every stream.",
      buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
      registers,
    });
    this.#rootExpiry = new Gauge({
      name: "citadel_server_root_cert_expiry_timestamp",
      help: "Seconds since 1970 at which the first trusted root expires.",
      registers,
    });
    new Gauge({
      name: "weft_model_resources",
      help: "Resources served, by type.",
      labelNames: ["type"],
      registers,
      collect() {
        this.set({ type: "Address" }, model().addresses.size);
        this.set({ type: "Authorization" }, model().authorizations.size);
      },
    });
  }

  /** Milliseconds. */
  flushed(flushMs: number, sinceChangeMs: number): void {
    this.#flush.observe(flushMs / 1000);
    this.#convergence.observe(sinceChangeMs / 1000);
  }

  rootExpiry(ms: number): void {
    this.#rootExpiry.set(ms / 1000);
  }
}
