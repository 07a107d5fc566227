/** What the calls of a conversation have used: the newest snapshot, and an estimate of the call in progress; pure, no DOM. */

/**
 * @typedef {{prompt: number, completion: number, cached: number, reasoning: number, cost: string|null}} Totals
 * @typedef {{stats: {conversation: Totals}|null, estimate: {prompt?: number, completion: number, cost?: string}|null}} Meter
 */

const ENDS_CALL = new Set(["turn_restarted", "turn_ended"]);

/** @returns {Meter} */
export function emptyMeter() {
  return { stats: null, estimate: null };
}

/** Takes one frame; the same meter if that tells nothing of calls. @param {Meter} meter @param {Object} frame @returns {Meter} */
export function measure(meter, frame) {
  if (frame.type === "event" && frame.kind === "stats") return { stats: frame.data, estimate: null };
  if (frame.type === "state" && frame.key === "stats") return { stats: frame.value, estimate: null };
  if (frame.type === "estimate") return { ...meter, estimate: frame };
  if (frame.type === "event" && ENDS_CALL.has(frame.kind) && meter.estimate !== null) return { ...meter, estimate: null };
  return meter;
}

/** What the conversation has used so far; null before anything is known. @param {Meter} meter */
export function usedSoFar({ stats, estimate }) {
  if (stats === null && estimate === null) return null;
  const told = stats?.conversation ?? { prompt: 0, completion: 0, cached: 0, reasoning: 0, cost: null };
  if (estimate === null) return { usage: told, cost: told.cost, estimated: false };
  const usage = {
    ...told,
    prompt: told.prompt + (estimate.prompt ?? 0),
    completion: told.completion + estimate.completion,
  };
  const costs = [told.cost, estimate.cost].filter((cost) => cost != null).map(Number);
  return { usage, cost: costs.length > 0 ? String(costs.reduce((sum, cost) => sum + cost)) : null, estimated: true };
}
