/**
 * The fold: frames of the native protocol become the log of one conversation; pure, no DOM.
 *
 * Whatever the way the frames arrived (live, replayed, cut and resumed), the same log comes out.
 */

/**
 * @typedef {{seq: number, cursor: string, kind: string, turn: string|null, at: string, data: Object}} LogEvent
 * @typedef {{channel: "text"|"reasoning", text: string}} Piece
 * @typedef {{name: string|null, text: string, length: number}} DraftCall  `length` in code points
 * @typedef {Object} Draft  text and reasoning of the hop in progress, in order of arrival
 * @property {string} turn
 * @property {number} attempt
 * @property {number} hop
 * @property {number} length  code points of all pieces together: the offset of the next delta
 * @property {Piece[]} pieces
 * @property {Map<number, DraftCall>} calls  tool arguments as they come, by index of the call
 * @typedef {Object} Log
 * @property {LogEvent[]} events
 * @property {Draft|null} draft
 * @property {string} cursor  empty before the first frame
 * @property {boolean} caughtUp
 * @property {boolean} gap  a delta did not fit: resume from `cursor`
 * @property {Map<string, number>} attempts  newest attempt of each restarted turn
 * @property {Map<string, number>} hops  newest finished hop of each turn; Infinity when the turn is over
 */

const DRAFT_ENDING = new Set(["assistant_message", "turn_restarted", "turn_ended"]);

/** @returns {Log} */
export function emptyLog() {
  return {
    events: [],
    draft: null,
    cursor: "",
    caughtUp: false,
    gap: false,
    attempts: new Map(),
    hops: new Map(),
  };
}

/**
 * Takes one frame into the log. The log is changed in place and returned, so that replaying n events costs n.
 * @param {Log} log
 * @param {Object} frame  frames and kinds that are not known are ignored
 * @returns {Log}
 */
export function fold(log, frame) {
  switch (frame.type) {
    case "event":
      return foldEvent(log, frame);
    case "delta":
      return foldDelta(log, frame);
    case "reset":
      return forgetAfter(log, frame.cursor);
    case "caught_up":
      log.caughtUp = true;
      log.cursor = frame.cursor;
      return log;
    case "heartbeat":
      log.cursor = frame.cursor;
      return log;
    default: // `accepted` comes from beside the stream: its cursor may be ahead of what is here
      return log;
  }
}

/** Tool arguments that were still coming when the connection broke come again from 0, or not at all. @param {Log} log */
export function dropUnfinished(log) {
  log.draft?.calls.clear();
  log.caughtUp = false;
  log.gap = false;
  return log;
}

/** @param {Draft|null} draft @param {"text"|"reasoning"} channel */
export function draftText(draft, channel) {
  return draft === null ? "" : draft.pieces.filter((piece) => piece.channel === channel).map((piece) => piece.text).join("");
}

/** What two viewers of the same conversation must agree on, whatever way the frames took. @param {Log} log */
export function snapshot(log) {
  const { draft } = log;
  return {
    events: log.events.map(({ seq, kind, turn, at, data }) => ({ seq, kind, turn, at, data })),
    draft: draft !== null && draft.length > 0
      ? {
          turn: draft.turn,
          attempt: draft.attempt,
          hop: draft.hop,
          text: draftText(draft, "text"),
          reasoning: draftText(draft, "reasoning"),
        }
      : null,
  };
}

/** @param {string} text */
export function codePoints(text) {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i += 1) {
    const high = text.charCodeAt(i);
    const low = text.charCodeAt(i + 1);
    if (high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
      count -= 1;
      i += 1;
    }
  }
  return count;
}

function foldEvent(log, { seq, cursor, kind, turn, at, data }) {
  const last = log.events.at(-1)?.seq ?? 0;
  if (seq <= last) return log;
  log.events.push({ seq, cursor, kind, turn, at, data });
  log.cursor = cursor;
  note(log, { kind, turn, data });
  if (DRAFT_ENDING.has(kind)) log.draft = null;
  return log;
}

function note(log, { kind, turn, data }) {
  if (kind === "turn_restarted") log.attempts.set(turn, data.attempt);
  if (kind === "assistant_message") log.hops.set(turn, data.hop);
  if (kind === "turn_ended") log.hops.set(turn, Infinity);
}

function foldDelta(log, frame) {
  if (frame.attempt < (log.attempts.get(frame.turn) ?? 0) || frame.hop <= (log.hops.get(frame.turn) ?? -1)) return log;
  const draft = draftFor(log, frame);
  const target = frame.channel === "tool_arguments" ? callOf(draft, frame) : draft;
  const known = target.length - frame.offset;
  if (known < 0) {
    log.gap ||= frame.channel !== "tool_arguments"; // a latecomer gets arguments from 0 or not at all
    return log;
  }
  const text = known === 0 ? frame.text : Array.from(frame.text).slice(known).join("");
  target.length += codePoints(text);
  if (frame.channel === "tool_arguments") target.text += text;
  else if (text !== "") draft.pieces.push({ channel: frame.channel, text });
  log.cursor = frame.cursor;
  return log;
}

function draftFor(log, { turn, attempt, hop }) {
  const { draft } = log;
  if (draft?.turn !== turn || draft.attempt !== attempt || draft.hop !== hop) {
    log.draft = { turn, attempt, hop, length: 0, pieces: [], calls: new Map() };
  }
  return log.draft;
}

function callOf(draft, { index, name }) {
  const call = draft.calls.get(index) ?? { name: null, text: "", length: 0 };
  call.name = name ?? call.name;
  draft.calls.set(index, call);
  return call;
}

function forgetAfter(log, cursor) {
  const [seq, offset] = cursor.split(".").map(Number);
  const dropped = log.events.filter((event) => event.seq > seq);
  if (dropped.length > 0) {
    log.events = log.events.filter((event) => event.seq <= seq);
    log.attempts.clear();
    log.hops.clear();
    log.events.forEach((event) => note(log, event));
  }
  const fromLater = dropped.some((event) => DRAFT_ENDING.has(event.kind) || event.kind === "user_message");
  log.draft = fromLater || offset === 0 ? null : cutDraft(log.draft, offset);
  log.cursor = cursor;
  log.gap = false;
  return log;
}

/** A new draft, so that whoever renders the old one sees that it was withdrawn. */
function cutDraft(draft, offset) {
  if (draft === null) return null;
  const cut = { ...draft, length: 0, pieces: [], calls: new Map() };
  for (const { channel, text } of draft.pieces) {
    const kept = Array.from(text).slice(0, offset - cut.length);
    if (kept.length === 0) break;
    cut.pieces.push({ channel, text: kept.join("") });
    cut.length += kept.length;
  }
  return cut;
}
