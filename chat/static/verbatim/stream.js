/**
 * Renders markdown while it arrives. Finished blocks are rendered once and left alone, and so are finished items of a
 * list; only the last, unfinished one is rendered again, and an open code fence just gets longer. So the work follows
 * the text, not its square.
 */

import { el, morph } from "./dom.js";
import { heal, settled } from "./heal.js";
import { codeBlock, marked, render, renderTokens } from "./markdown.js";

const OPEN_FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*\n/;
const MAYBE_CLOSING = /^ {0,3}(?:`*|~*)[ \t]*$/;

export class MarkdownStream {
  /** @param {HTMLElement} element  is filled with the answer */
  constructor(element) {
    this.element = element;
    this.rest = ""; // source of the block in progress
    this.tail = null; // its element
    this.list = null; // a list that goes on: its element, and how many of its items are finished
    this.fence = null; // a code fence that is still open
  }

  /** @param {string} text  the next stretch of the source */
  write(text) {
    const plain = text.replaceAll("\r", "");
    if (this.fence === null) this.rest += plain;
    else this.rest = this.growFence(plain);
    if (this.fence === null) this.renderRest();
  }

  /** Renders the whole once more, now that nothing is open; only what differs is touched. @param {string} source */
  end(source) {
    this.unwrapTail();
    this.fence = null;
    this.list = null;
    morph(this.element, render(source));
  }

  renderRest() {
    const tokens = marked.lexer(settled(this.rest));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    if (last > 0) this.commit(tokens, last);
    const opened = OPEN_FENCE.exec(this.rest);
    if (opened !== null && !isClosed(this.rest, opened[1])) return this.openFence(opened);
    if (last < 0) return;
    if (tokens[last].items?.length > 1) this.commitItems(tokens[last]);
    this.showTail(renderTokens(marked.lexer(heal(settled(this.rest))), { highlight: false }));
  }

  /** The blocks before the last one will not change any more. */
  commit(tokens, last) {
    const finished = tokens.slice(0, last);
    this.showTail(renderTokens(Object.assign(finished, { links: tokens.links })));
    this.unwrapTail();
    this.list = null;
    this.forget(finished);
  }

  /** Nor will the items before the last one. */
  commitItems(list) {
    const finished = list.items.slice(0, -1);
    this.showTail(renderTokens([{ ...list, items: finished }]));
    this.unwrapTail();
    this.list ??= { element: this.element.lastElementChild, done: 0 };
    this.list.done += finished.length;
    this.forget(finished);
  }

  forget(tokens) {
    this.rest = this.rest.slice(tokens.reduce((length, token) => length + token.raw.length, 0));
  }

  showTail(body) {
    if (this.list !== null) this.showItems(body);
    if (this.list !== null) return;
    if (this.tail === null) this.element.append((this.tail = el("div", { class: "tail" })));
    morph(this.tail, body);
  }

  /** The first thing in `body` is the rest of the list; if anything follows, the list is over. */
  showItems(body) {
    const { element, done } = this.list;
    const more = body.firstElementChild;
    const goesOn = more?.localName === element.localName;
    morph(element, goesOn ? more : new DocumentFragment(), done);
    if (goesOn) more.remove();
    if (!goesOn || body.childElementCount > 0) this.list = null;
  }

  /** The blocks in the tail move up into the answer itself. */
  unwrapTail() {
    this.tail?.replaceWith(...this.tail.childNodes);
    this.tail = null;
  }

  openFence([head, marker, language]) {
    this.showTail(new DocumentFragment());
    this.unwrapTail();
    const block = this.element.appendChild(codeBlock(language, "", false));
    const text = block.querySelector("code").appendChild(document.createTextNode(""));
    this.fence = { block, text, language, closing: closing(marker), line: "", shown: 0 };
    this.rest = this.growFence(this.rest.slice(head.length));
    if (this.fence === null) this.renderRest();
  }

  /** Adds to the open fence; returns what comes after it, if this closes it. */
  growFence(text) {
    const { fence } = this;
    const lines = (fence.line + text).split("\n");
    fence.line = lines.pop();
    for (const [index, line] of lines.entries()) {
      if (fence.closing.test(line)) return this.closeFence([...lines.slice(index + 1), fence.line].join("\n"));
      this.showLine(`${line}\n`);
      fence.shown = 0;
    }
    if (!MAYBE_CLOSING.test(fence.line)) {
      this.showLine(fence.line);
      fence.shown = fence.line.length;
    }
    return "";
  }

  showLine(line) {
    this.fence.text.appendData(line.slice(this.fence.shown));
  }

  closeFence(after) {
    const { block, language, text } = this.fence;
    block.replaceWith(codeBlock(language, text.data.replace(/\n$/, "")));
    this.fence = null;
    return after;
  }
}

function closing(marker) {
  return new RegExp(`^ {0,3}${marker[0]}{${marker.length},}[ \\t]*$`);
}

function isClosed(source, marker) {
  return source.split("\n").slice(1, -1).some((line) => closing(marker).test(line));
}
