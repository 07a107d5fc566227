/** From the log of a conversation to its tree of turns, and from the tree to the chain a page shows; pure, no DOM. */

/**
 * @typedef {{content: string, isError: boolean, durationMs: number, sources: {title: string, url: string}[]}} ToolResult
 * @typedef {{id: string, name: string, arguments: string, result: ToolResult|null}} Call
 * @typedef {{hop: number, text: string, reasoning: string, calls: Call[], model: string}} Hop
 * @typedef {Object} Turn
 * @property {string} id
 * @property {number} seq  of its user message
 * @property {string} at  ISO 8601
 * @property {string|null} parent
 * @property {string|null} requestId
 * @property {string} text  what the person said
 * @property {string[]} images  addresses, or what kind of image it was
 * @property {string} model
 * @property {Hop[]} hops  finished ones; the draft is the one in progress
 * @property {boolean} restarted
 * @property {{status: string, at: string, error: Object|null, usage: Object|null, cost: string|null, finishReason: string|null}|null} end
 * @typedef {{turns: Map<string, Turn>, children: Map<string|null, string[]>, newest: string|null}} Tree
 */

/** @param {import("./log.js").LogEvent[]} events @returns {Tree} */
export function buildTree(events) {
  const tree = { turns: new Map(), children: new Map(), newest: null };
  for (const event of events) {
    if (event.kind === "user_message") plant(tree, event);
    else if (tree.turns.has(event.turn)) GROW[event.kind]?.(tree.turns.get(event.turn), event);
  }
  return tree;
}

/** The turn that is still being answered, if any. @param {Tree} tree @returns {Turn|null} */
export function activeTurn(tree) {
  const turn = tree.turns.get(tree.newest) ?? null;
  return turn?.end === null ? turn : null;
}

/** All versions of a turn, oldest first. @param {Tree} tree @param {Turn} turn @returns {string[]} */
export function siblings(tree, turn) {
  return tree.children.get(turn.parent) ?? [turn.id];
}

/**
 * The turns from the first to the last that a page shows: where there are versions, the one picked, else the newest.
 * @param {Tree} tree
 * @param {Map<string|null, string>} picks  parent → chosen child
 * @returns {Turn[]}
 */
export function chain(tree, picks) {
  const trunk = new Set();
  for (let id = tree.newest; id !== null; id = tree.turns.get(id)?.parent ?? null) trunk.add(id);
  const shown = [];
  let versions = tree.children.get(null) ?? [];
  while (versions.length > 0) {
    const picked = picks.get(tree.turns.get(versions[0]).parent);
    const id = versions.includes(picked) ? picked : (versions.find((version) => trunk.has(version)) ?? versions.at(-1));
    shown.push(tree.turns.get(id));
    versions = tree.children.get(id) ?? [];
  }
  return shown;
}

function plant(tree, { turn: id, seq, at, data }) {
  const parent = tree.turns.has(data.parent) ? data.parent : null;
  tree.turns.set(id, {
    id,
    seq,
    at,
    parent,
    requestId: data.request_id ?? null,
    text: data.text,
    images: (data.parts ?? []).filter((part) => part.type === "image").map((part) => part.url),
    model: data.model ?? "",
    hops: [],
    restarted: false,
    end: null,
  });
  tree.children.set(parent, [...(tree.children.get(parent) ?? []), id]);
  tree.newest = id;
  for (const result of data.results ?? []) answer(tree.turns.get(parent), result);
}

/** A program has answered a call that the turn before left to it. */
function answer(turn, { tool_call_id, content }) {
  const call = turn?.hops.at(-1)?.calls.find(({ id, result }) => id === tool_call_id && result === null);
  if (call !== undefined) call.result = { content, isError: false, durationMs: 0, sources: [] };
}

const GROW = {
  assistant_message(turn, { data }) {
    const calls = (data.tool_calls ?? []).map((call) => ({ ...call, result: null }));
    turn.hops.push({ hop: data.hop, text: data.text ?? "", reasoning: data.reasoning ?? "", calls, model: data.model ?? "" });
  },
  tool_result(turn, { data }) {
    const call = turn.hops.find((hop) => hop.hop === data.hop)?.calls[data.index];
    if (call === undefined) return;
    call.result = {
      content: data.content,
      isError: data.is_error ?? false,
      durationMs: data.duration_ms ?? 0,
      sources: data.sources ?? [],
    };
  },
  turn_restarted(turn) {
    turn.restarted = true;
  },
  turn_ended(turn, { at, data }) {
    turn.end = {
      status: data.status,
      at,
      error: data.error ?? null,
      usage: data.usage ?? null,
      cost: data.cost ?? null,
      finishReason: data.finish_reason ?? null,
    };
  },
};
