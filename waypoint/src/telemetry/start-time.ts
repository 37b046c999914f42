/** Times of access logs: strftime's letters, and %f for parts of a second as Envoy has it. */

type Part = (date: Date, unixMs: number) => string;

const two = (value: number): string => String(value).padStart(2, "0");
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const MS_PER_DAY = 86_400_000;
/** Nanoseconds: what %f means without a number of digits. */
const ALL_DIGITS = 9;

const hour12 = (date: Date): number => date.getUTCHours() % 12 || 12;
const dayOfYear = (date: Date): number =>
  Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / MS_PER_DAY) + 1;

const LETTERS: Readonly<Record<string, Part>> = {
  Y: (date) => String(date.getUTCFullYear()),
  y: (date) => two(date.getUTCFullYear() % 100),
  C: (date) => two(Math.floor(date.getUTCFullYear() / 100)),
  m: (date) => two(date.getUTCMonth() + 1),
  d: (date) => two(date.getUTCDate()),
  e: (date) => String(date.getUTCDate()).padStart(2, " "),
  j: (date) => String(dayOfYear(date)).padStart(3, "0"),
  H: (date) => two(date.getUTCHours()),
  I: (date) => two(hour12(date)),
  M: (date) => two(date.getUTCMinutes()),
  S: (date) => two(date.getUTCSeconds()),
  p: (date) => (date.getUTCHours() < 12 ? "AM" : "PM"),
  a: (date) => (DAYS[date.getUTCDay()] ?? "").slice(0, 3),
  A: (date) => DAYS[date.getUTCDay()] ?? "",
  b: (date) => (MONTHS[date.getUTCMonth()] ?? "").slice(0, 3),
  h: (date) => (MONTHS[date.getUTCMonth()] ?? "").slice(0, 3),
  B: (date) => MONTHS[date.getUTCMonth()] ?? "",
  u: (date) => String(date.getUTCDay() || 7),
  w: (date) => String(date.getUTCDay()),
  s: (_, unixMs) => String(Math.floor(unixMs / 1000)),
  z: () => "+0000",
  Z: () => "UTC",
  F: (date) => date.toISOString().slice(0, 10),
  T: (date) => date.toISOString().slice(11, 19),
  R: (date) => date.toISOString().slice(11, 16),
  D: (date) => `${two(date.getUTCMonth() + 1)}/${two(date.getUTCDate())}/${two(date.getUTCFullYear() % 100)}`,
  n: () => "\n",
  t: () => "\t",
  "%": () => "%",
};

/** Without a format: `2026-01-02T03:04:05.678Z`. A letter that is none stays as it is written. */
export function compileTime(format: string | undefined): (unixMs: number) => string {
  if (format === undefined || format === "") return (unixMs) => new Date(unixMs).toISOString();
  const parts: Part[] = [];
  for (const [whole, digits, letter = ""] of format.matchAll(/%([1-9])?([a-zA-Z%])|[^%]+|%/g)) {
    const known = digits === undefined ? LETTERS[letter] : undefined;
    if (letter === "f") parts.push(fraction(digits === undefined ? ALL_DIGITS : Number(digits)));
    else parts.push(known ?? (() => whole));
  }
  return (unixMs) => {
    const date = new Date(unixMs);
    let text = "";
    for (const part of parts) text += part(date, unixMs);
    return text;
  };
}

function fraction(digits: number): Part {
  return (_, unixMs) => {
    // A double holds today's milliseconds to a quarter of a microsecond: there is nothing behind those.
    const microseconds = Math.min(999_999, Math.round((unixMs - Math.floor(unixMs / 1000) * 1000) * 1000));
    return String(microseconds).padStart(6, "0").padEnd(ALL_DIGITS, "0").slice(0, digits);
  };
}
