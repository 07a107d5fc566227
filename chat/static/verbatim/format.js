/** Numbers and times as people read them. */

const WHOLE = new Intl.NumberFormat("en");

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** @param {{prompt?: number, completion?: number, cached?: number, reasoning?: number}} usage */
export function tokens(usage) {
  return `${WHOLE.format((usage.prompt ?? 0) + (usage.completion ?? 0))} tokens`;
}

/** The same in detail. */
export function tokenParts({ prompt = 0, completion = 0, cached = 0, reasoning = 0 }) {
  const read = cached > 0 ? `${WHOLE.format(prompt)} read (${WHOLE.format(cached)} from cache)` : `${WHOLE.format(prompt)} read`;
  const written = `${WHOLE.format(completion)} written`;
  return reasoning > 0 ? `${read}, ${written} (${WHOLE.format(reasoning)} while thinking)` : `${read}, ${written}`;
}

/** @param {string} dollars  a decimal number */
export function cost(dollars) {
  const value = Number(dollars);
  if (value === 0) return "$0";
  return value < 0.0001 ? "< $0.0001" : `$${value.toFixed(value < 0.1 ? 4 : 2)}`;
}

/** A heading for the list of conversations. @param {Date} then @param {Date} now */
export function ageGroup(then, now) {
  const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((day(now) - day(then)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Previous 7 days";
  if (days <= 30) return "Previous 30 days";
  return "Older";
}
