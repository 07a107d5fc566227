/** The turns on the page: creates, updates and removes their views, and answers the buttons in them. */

import { el } from "./dom.js";
import { DISLIKE, LIKE } from "./feedback.js";
import { openForm } from "./inline-form.js";
import { activeTurn, chain, siblings } from "./turns.js";
import { TurnView } from "./turn-view.js";

const PAGE = 30; // turns shown before "Show earlier messages"
const MESSAGE_LIMIT = 100_000;
const COMMENT_LIMIT = 2_000;

/**
 * @typedef {Object} Commands
 * @property {(turn: import("./turns.js").Turn) => void} regenerate
 * @property {(turn: import("./turns.js").Turn, text: string) => void} edit
 * @property {(turn: string) => import("./feedback.js").Opinion|null} opinion
 * @property {(turn: string, opinion: import("./feedback.js").Opinion|null) => void} judge
 * @property {() => void} changed  another branch is to be shown
 * @property {() => void} lengthened  more is to be shown above
 */

export class Transcript {
  /** @param {HTMLElement} element @param {Commands} commands */
  constructor(element, commands) {
    this.element = element;
    this.commands = commands;
    this.earlier = el("button", { class: "earlier", type: "button", "data-action": "earlier" }, ["Show earlier messages"]);
    this.clear();
    element.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-action]");
      if (button !== null) this.act(button);
    });
  }

  clear() {
    this.views = new Map();
    this.picks = new Map();
    this.shown = [];
    this.limit = PAGE;
    this.newest = null;
    this.atNewest = true; // what is sent continues what is shown
    this.element.replaceChildren();
  }

  /**
   * Brings everything up to date.
   * @param {import("./turns.js").Tree} tree @param {import("./log.js").Draft|null} draft
   * @param {import("./conversation.js").Pending[]} pending @param {string|null} stopping  turn that was asked to stop
   */
  show(tree, draft, pending, stopping) {
    if (tree.newest !== this.newest) this.picks.clear(); // a new turn is always looked at
    this.newest = tree.newest;
    this.tree = tree;
    const replaced = pending.find(({ replaces }) => replaces !== null)?.replaces;
    const turns = chain(tree, this.picks);
    this.atNewest = turns.length === 0 || turns.at(-1).id === tree.newest;
    const cut = turns.findIndex(({ id }) => id === replaced);
    const kept = cut === -1 ? turns : turns.slice(0, cut);
    this.shown = kept.slice(-this.limit);
    this.hidden = kept.length - this.shown.length;
    const idle = activeTurn(tree) === null && pending.length === 0;
    const views = this.shown.map((turn) => this.showTurn(turn, draft, { idle, stopping: turn.id === stopping }));
    for (const message of pending) views.push(this.showPending(message));
    this.arrange(views);
  }

  /** Only a fragment came. */
  showDraft(draft, stopping) {
    const view = draft === null ? undefined : this.views.get(draft.turn);
    if (view?.turn !== undefined) view.showDraft(draft, draft.turn === stopping);
  }

  showTurn(turn, draft, { idle, stopping }) {
    const view = this.viewOf(turn.id);
    const versions = siblings(this.tree, turn);
    const place = {
      version: versions.indexOf(turn.id),
      versions: versions.length,
      reworded: new Set(versions.map((id) => this.tree.turns.get(id).text)).size > 1,
      last: turn === this.shown.at(-1),
      idle,
      opinion: this.commands.opinion(turn.id),
    };
    const signature = JSON.stringify([place, stopping, turn.restarted, turn.end, turn.hops.length, results(turn)]);
    const own = draft?.turn === turn.id ? draft : null;
    if (view.signature !== signature || own !== view.draft) view.show(turn, own, place);
    if (turn.end === null) view.showDraft(own, stopping);
    view.signature = signature;
    view.draft = own;
    return view;
  }

  showPending({ requestId, text, replaces }) {
    const view = this.viewOf(requestId);
    view.showPending(text ?? this.tree.turns.get(replaces)?.text ?? "");
    return view;
  }

  viewOf(id) {
    if (!this.views.has(id)) this.views.set(id, new TurnView(id));
    return this.views.get(id);
  }

  arrange(views) {
    const wanted = views.map((view) => view.element);
    if (this.hidden > 0) wanted.unshift(this.earlier);
    for (const [id, view] of this.views) {
      if (views.includes(view)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    if (this.hidden === 0) this.earlier.remove();
    wanted.forEach((element, index) => {
      if (this.element.children[index] !== element) this.element.insertBefore(element, this.element.children[index] ?? null);
    });
  }

  /** Back to the branch that the next message continues. */
  showNewest() {
    this.picks.clear();
    this.commands.changed();
  }

  act(button) {
    const turn = this.tree?.turns.get(button.closest(".turn")?.dataset.turn);
    switch (button.dataset.action) {
      case "earlier":
        this.limit += PAGE;
        return this.commands.lengthened();
      case "copy-code":
        return copy(button, button.closest(".code").querySelector("code").textContent);
      case "copy-said":
        return copy(button, turn.text);
      case "copy-answer":
        return copy(button, turn.hops.map((hop) => hop.text).filter((text) => text !== "").join("\n\n"));
      case "regenerate":
        return this.commands.regenerate(turn);
      case "edit":
        return this.edit(turn);
      case "like":
        return this.judge(turn, LIKE);
      case "dislike":
        return this.judge(turn, DISLIKE);
      case "comment":
        return this.comment(turn);
      case "version-back":
        return this.step(turn, -1);
      case "version-on":
        return this.step(turn, 1);
    }
  }

  step(turn, by) {
    const versions = siblings(this.tree, turn);
    const other = versions[versions.indexOf(turn.id) + by];
    if (other === undefined) return;
    this.picks.set(turn.parent, other);
    this.commands.changed();
    const selector = by < 0 ? '[data-action="version-back"]' : '[data-action="version-on"]';
    this.views.get(other)?.element.querySelector(selector)?.focus();
  }

  edit(turn) {
    const { said } = this.views.get(turn.id);
    openForm({
      into: said,
      label: "Edit your message",
      text: turn.text,
      verb: "Send",
      limit: MESSAGE_LIMIT,
      send: (text) => this.commands.edit(turn, text),
      closed: () => said.querySelector('[data-action="edit"]')?.focus(),
    });
  }

  /** A second click on the same thumb takes it back. */
  judge(turn, sentiment) {
    const taken = this.commands.opinion(turn.id)?.sentiment === sentiment;
    this.commands.judge(turn.id, taken ? null : { sentiment, comment: "" });
  }

  comment(turn) {
    const { remark, footer } = this.views.get(turn.id);
    if (remark.classList.contains("editing")) return remark.querySelector("textarea").focus();
    openForm({
      into: remark,
      label: "Why? Whoever runs this site can read it.",
      text: this.commands.opinion(turn.id).comment,
      verb: "Save",
      limit: COMMENT_LIMIT,
      mayBeEmpty: true,
      send: (text) => this.commands.judge(turn.id, { ...this.commands.opinion(turn.id), comment: text.trim() }),
      closed: () => footer.querySelector('[data-action="comment"]')?.focus(),
    });
  }
}

function results(turn) {
  return turn.hops.map((hop) => hop.calls.filter((call) => call.result !== null).length);
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // the browser forbids it: nothing was copied, and nothing says so
  }
  button.classList.add("copied");
  const use = button.querySelector("use");
  use.setAttribute("href", "#icon-check");
  setTimeout(() => {
    button.classList.remove("copied");
    use.setAttribute("href", "#icon-copy");
  }, 1500);
}
