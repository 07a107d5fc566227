/** One turn on the page: what the person said, the answer hop by hop, how it ended, and what can be done with it. */

import { actionButton, el, icon, morph } from "./dom.js";
import { DISLIKE, LIKE } from "./feedback.js";
import { cost, duration, tokenParts, tokens } from "./format.js";
import { HopView } from "./hop-view.js";
import { pointTo, safeAddress } from "./links.js";

/**
 * @typedef {Object} Place  where a turn stands among the others
 * @property {number} version  index among its siblings
 * @property {number} versions
 * @property {boolean} reworded  whether the versions differ in what the person said, not only in the answer
 * @property {boolean} last  of those shown
 * @property {boolean} idle  whether a new turn may begin
 * @property {import("./feedback.js").Opinion|null} opinion  what the person thinks of the answer
 */

const ENDS = {
  length: "The answer was cut off at its length limit.",
  content_filter: "The provider's filter cut this answer off.",
  tool_limit_reached: "The limit of tool rounds was reached.",
};

export class TurnView {
  /** @param {string} id  of the turn, or a request id while it has none */
  constructor(id) {
    this.bubble = el("div", { class: "bubble" });
    this.images = el("ul", { class: "said-images" });
    this.saidRow = el("div", { class: "row-actions" });
    this.hops = el("div", { class: "hops" });
    this.state = el("div", { class: "answer-state" });
    this.footer = el("div", { class: "row-actions answer-actions" });
    this.comment = el("div", { class: "comment" });
    this.remark = el("div", { class: "remark" }, [this.comment]);
    this.said = el("div", { class: "said" }, [heading("You said"), this.images, this.bubble, this.saidRow]);
    this.answer = el("div", { class: "answer" }, [heading("Answer"), this.hops, this.state, this.footer, this.remark]);
    this.element = el("article", { class: "turn", "data-turn": id }, [this.said, this.answer]);
    /** @type {HopView[]} */
    this.views = [];
  }

  /** A message on its way. @param {string} text */
  showPending(text) {
    this.bubble.textContent = text;
    this.element.classList.add("pending");
    this.fill(this.state, [dots("Sending")]);
  }

  /** @param {import("./turns.js").Turn} turn @param {import("./log.js").Draft|null} draft  of this turn @param {Place} place */
  show(turn, draft, place) {
    this.turn = turn;
    this.mayRetry = place.idle && place.last;
    if (this.bubble.textContent !== turn.text) this.bubble.textContent = turn.text;
    this.fill(this.images, turn.images.map(image));
    this.said.hidden = turn.text === "" && turn.images.length === 0;
    this.bubble.hidden = turn.text === "";
    turn.hops.forEach((hop, index) => this.hopView(index).showFinal(hop, turn.end));
    this.showDraft(draft);
    this.fill(this.saidRow, saidActions(turn, place));
    this.fill(this.footer, turn.end === null ? [] : answerActions(turn, place));
    this.comment.textContent = place.opinion?.comment ?? "";
    this.remark.hidden = place.opinion === null;
    this.element.classList.toggle("last", place.last);
  }

  /** The part of `show` that a new fragment needs. */
  showDraft(draft, stopping = false) {
    const { turn } = this;
    const count = turn.hops.length + (draft === null ? 0 : 1);
    while (this.views.length > count) this.views.pop().element.remove();
    if (draft !== null) this.hopView(turn.hops.length).showDraft(draft);
    this.fill(this.state, turn.end === null ? progress(turn, draft, stopping) : ending(turn, this.mayRetry));
    this.element.classList.toggle("active", turn.end === null);
  }

  hopView(index) {
    if (this.views[index] === undefined) {
      this.views[index] = new HopView();
      this.hops.append(this.views[index].element);
    }
    return this.views[index];
  }

  fill(element, children) {
    const fragment = new DocumentFragment();
    fragment.append(...children);
    morph(element, fragment);
  }
}

function heading(text) {
  return el("h2", { class: "visually-hidden" }, [text]);
}

/** A page loads nothing from elsewhere, and an image that came with the message stays at the server: a line for each. */
function image(url) {
  const link = el("a", {}, [safeAddress(url) ?? `Image (${url.match(/^data:image\/([\w.+-]+)/i)?.[1] ?? "unknown"})`]);
  pointTo(link, url);
  return el("li", {}, [link]);
}

function dots(label) {
  const sign = el("div", { class: "dots", role: "img" }, [el("i"), el("i"), el("i")]);
  sign.setAttribute("aria-label", label);
  return sign;
}

function note(text, symbol) {
  return el("p", { class: "answer-note" }, [icon(symbol), el("span", {}, [text])]);
}

function progress(turn, draft, stopping) {
  const notes = turn.restarted ? [note("The server was interrupted and has taken this up again.", "again")] : [];
  if (stopping) return [...notes, note("Stopping…", "stop")];
  const saying = draft !== null && (draft.pieces.length > 0 || draft.calls.size > 0);
  const running = turn.hops.some((hop) => hop.calls.some((call) => call.result === null));
  return saying || running ? notes : [...notes, dots("Answering")];
}

function ending({ end }, mayRetry) {
  if (end.status === "cancelled") return [note("Stopped.", "stop")];
  if (end.status === "failed") return [failure(end.error, mayRetry)];
  return ENDS[end.finishReason] ? [note(ENDS[end.finishReason], "warning")] : [];
}

function failure(error, mayRetry) {
  const retry = el("button", { class: "button", type: "button", "data-action": "regenerate" }, [icon("again"), el("span", {}, ["Try again"])]);
  return el("div", { class: "failure" }, [
    icon("warning"),
    el("div", { class: "failure-text" }, [
      el("strong", {}, ["The answer could not be finished"]),
      el("p", {}, [error?.message || "Something went wrong on the way."]),
    ]),
    ...(mayRetry ? [retry] : []),
  ]);
}

function saidActions(turn, place) {
  return [
    ...(place.reworded ? [stepper(place)] : []),
    actionButton("copy-said", "copy", "Copy your message"),
    ...(place.idle ? [actionButton("edit", "edit", "Edit your message")] : []),
  ];
}

function answerActions(turn, place) {
  const said = turn.hops.some((hop) => hop.text !== "");
  return [
    ...(place.versions > 1 && !place.reworded ? [stepper(place)] : []),
    ...(said ? [actionButton("copy-answer", "copy", "Copy the answer")] : []),
    ...(place.idle && place.last && turn.end.status !== "failed" ? [actionButton("regenerate", "again", "Answer again")] : []),
    ...thumbs(place.opinion),
    facts(turn),
  ];
}

function thumbs(opinion) {
  const up = actionButton("like", "thumb-up", "Good answer");
  const down = actionButton("dislike", "thumb-down", "Bad answer");
  up.setAttribute("aria-pressed", String(opinion?.sentiment === LIKE));
  down.setAttribute("aria-pressed", String(opinion?.sentiment === DISLIKE));
  if (opinion === null) return [up, down];
  return [up, down, actionButton("comment", "comment", opinion.comment === "" ? "Add a comment" : "Edit your comment")];
}

function stepper({ version, versions }) {
  const back = actionButton("version-back", "left", "Earlier version");
  const on = actionButton("version-on", "right", "Later version");
  back.toggleAttribute("disabled", version === 0);
  on.toggleAttribute("disabled", version === versions - 1);
  const label = el("span", { class: "stepper-count" }, [`${version + 1} / ${versions}`]);
  return el("span", { class: "stepper", role: "group", "aria-label": "Versions" }, [back, label, on]);
}

function facts({ at, end, hops, model }) {
  const parts = [hops.findLast((hop) => hop.model !== "")?.model || model];
  parts.push(end.usage === null ? "" : tokens(end.usage), end.cost === null ? "" : cost(end.cost));
  parts.push(duration(Math.max(0, Date.parse(end.at) - Date.parse(at))));
  const line = el("span", { class: "facts" }, [parts.filter((part) => part !== "").join(" · ")]);
  if (end.usage !== null) line.title = tokenParts(end.usage);
  return line;
}
