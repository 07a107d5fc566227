/** One model call of an answer: what it thought, what it said, which tools it called. */

import { el, icon, morph } from "./dom.js";
import { duration } from "./format.js";
import { MarkdownStream } from "./stream.js";
import { toolCard } from "./tool-card.js";

export class HopView {
  constructor() {
    this.text = el("div", { class: "markdown" });
    this.thought = el("div", { class: "markdown thought" });
    this.label = el("span", { class: "reasoning-label" }, ["Reasoning"]);
    this.reasoning = el("details", { class: "reasoning", hidden: true }, [
      el("summary", {}, [icon("thought"), this.label, icon("chevron")]),
      this.thought,
    ]);
    this.calls = el("div", { class: "calls" });
    this.element = el("div", { class: "hop" }, [this.reasoning, this.text, this.calls]);
    this.draft = null;
    this.startOver();
  }

  /** @param {import("./log.js").Draft} draft  of this hop; only what is new since last time is rendered */
  showDraft(draft) {
    if (draft !== this.draft) this.startOver();
    this.draft = draft;
    const fresh = draft.pieces.slice(this.seen);
    this.seen = draft.pieces.length;
    this.grow("reasoning", this.thoughtStream, fresh);
    this.grow("text", this.textStream, fresh);
    if (fresh.length > 0) this.timeThought(fresh);
    this.element.classList.add("live");
    this.showCalls(Array.from(draft.calls.entries())
      .sort(([a], [b]) => a - b)
      .map(([, call]) => ({ name: call.name ?? "", arguments: call.text, state: "preparing", result: null })));
  }

  /** @param {import("./turns.js").Hop} hop @param {import("./turns.js").Turn["end"]} end  of its turn */
  showFinal(hop, end) {
    if (this.final !== hop.text) {
      this.textStream.end(hop.text);
      if (hop.reasoning !== "") this.thoughtStream.end(hop.reasoning);
      this.final = hop.text;
    }
    this.reasoning.hidden = hop.reasoning === "";
    if (this.element.classList.contains("live")) this.endThought();
    this.element.classList.remove("live");
    this.showCalls(hop.calls.map((call) => ({ ...call, state: stateOf(call, end) })));
  }

  grow(channel, stream, pieces) {
    const text = pieces.filter((piece) => piece.channel === channel).map((piece) => piece.text).join("");
    if (text !== "") stream.write(text);
  }

  showCalls(calls) {
    const open = Array.from(this.calls.children, (card) => card.open);
    const cards = calls.map(toolCard);
    cards.forEach((card, index) => (card.open = open[index] ?? false));
    const list = new DocumentFragment();
    list.append(...cards);
    morph(this.calls, list);
  }

  timeThought(fresh) {
    if (fresh.some((piece) => piece.channel === "reasoning")) this.reasoning.hidden = false;
    if (this.reasoning.hidden) return;
    this.thoughtFrom ??= performance.now();
    if (fresh.at(-1).channel === "reasoning") {
      this.reasoning.classList.add("thinking");
      this.label.textContent = "Thinking…";
    } else this.endThought();
  }

  endThought() {
    if (!this.reasoning.classList.contains("thinking")) return;
    this.reasoning.classList.remove("thinking");
    const took = performance.now() - this.thoughtFrom;
    this.label.textContent = took < 1000 ? "Reasoning" : `Thought for ${duration(took)}`;
  }

  startOver() {
    this.seen = 0;
    this.final = null;
    this.reasoning.hidden = true;
    this.text.replaceChildren();
    this.thought.replaceChildren();
    this.textStream = new MarkdownStream(this.text);
    this.thoughtStream = new MarkdownStream(this.thought);
  }
}

function stateOf(call, end) {
  if (call.result === null && end === null) return "running";
  if (call.result === null) return end.finishReason === "tool_calls" ? "left" : "interrupted";
  return call.result.isError ? "error" : "done";
}
