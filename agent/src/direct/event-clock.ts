/** CLOCK_BOOTTIME, in which BPF tells times, to Unix time. */
import { uptime } from "node:os";

/** A smaller step is the two clocks' different grain. */
const GRAIN_MS = 2;
/** `uptime()` counts hundredths of a second. */
const UPTIME_GRAIN_MS = 20;

export interface Clocks {
  readonly unixMs: () => number;
  /** CLOCK_MONOTONIC, which stands still while the machine sleeps. */
  readonly monotonicMs: () => number;
  /** CLOCK_BOOTTIME, roughly. */
  readonly bootMs: () => number;
}

const SYSTEM: Clocks = {
  unixMs: Date.now,
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  bootMs: () => uptime() * 1000,
};

export class EventClock {
  readonly #clocks: Clocks;
  #offsetMs = Number.NaN;

  constructor(clocks: Clocks = SYSTEM) {
    this.#clocks = clocks;
  }

  /** What to add to a boot time for Unix time, by the clocks as they stand now. To be asked once per batch. */
  offsetMs(): number {
    const { unixMs, monotonicMs, bootMs } = this.#clocks;
    const monotonic = monotonicMs();
    const asleep = bootMs() - monotonic;
    const offset = unixMs() - monotonic - (Math.abs(asleep) <= UPTIME_GRAIN_MS ? 0 : asleep);
    if (!(Math.abs(offset - this.#offsetMs) <= GRAIN_MS)) this.#offsetMs = offset;
    return this.#offsetMs;
  }
}
