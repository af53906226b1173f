// Numbers and times, for people.

/** Narrow, and no place to break a line. */
const THIN = "\u202f";

/** 12 345 */
export function number(value: number): string {
  const [whole = "", part] = String(Math.abs(value)).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
  return `${value < 0 ? "−" : ""}${grouped}${part === undefined ? "" : `.${part}`}`;
}

/** At most one digit after the point. */
export const rounded = (value: number): string => number(Math.round(value * 10) / 10);

/** 97 %: never 100 % or 0 % for what is only near it. */
export function share(value: number | null): string {
  if (value === null) return "unknown";
  const percent = value * 100;
  if (percent > 99 && percent < 100) return `${Math.min(99.9, Math.floor(percent * 10) / 10)}${THIN}%`;
  if (percent > 0 && percent < 1) return `${Math.max(0.1, Math.round(percent * 10) / 10)}${THIN}%`;
  return `${Math.round(percent)}${THIN}%`;
}

export const ratio = (some: number, all: number): string => `${number(some)}/${number(all)}`;

/** 2026-07-01 12:30 */
export function time(text: string | null): string {
  return text === null ? "–" : `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

/** 2026-07-01 12:30:00.123 UTC */
export function exactTime(text: string | null): string {
  return text === null
    ? "unknown"
    : `${text.slice(0, 10)} ${text
        .slice(11)
        .replace(/(\.\d*?)0*Z$/, "$1")
        .replace(/[.Z]*$/, "")} UTC`;
}

/** 36 h, 12 d */
export function duration(hours: number): string {
  if (hours < 1) return `${Math.max(0, Math.round(hours * 60))}${THIN}min`;
  return hours < 72 ? `${rounded(hours)}${THIN}h` : `${rounded(hours / 24)}${THIN}d`;
}

export function hoursBetween(from: string | null, to: string | null): number | null {
  if (from === null || to === null) return null;
  const hours = (Date.parse(to) - Date.parse(from)) / 3_600_000;
  return Number.isFinite(hours) ? hours : null;
}

export function bytes(value: number): string {
  if (value < 1000) return `${value}${THIN}B`;
  const units = ["kB", "MB", "GB"];
  let at = -1;
  let rest = value;
  while (rest >= 1000 && at < units.length - 1) {
    rest /= 1000;
    at += 1;
  }
  return `${rounded(rest)}${THIN}${units[at] ?? "B"}`;
}

export const count = (value: number, one: string, many = `${one}s`): string => `${number(value)} ${value === 1 ? one : many}`;

/** `stable_reason` and such words, as words. */
export const words = (text: string): string => text.replaceAll("_", " ");

/** A probability, as short as it can be told. */
export function probability(value: number): string {
  if (value >= 0.001) return String(Number(value.toPrecision(2)));
  if (value === 0) return "< 1e−300";
  return `1e−${Math.floor(-Math.log10(value))}`;
}
