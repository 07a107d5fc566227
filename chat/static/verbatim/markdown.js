/** Markdown to a sanitised fragment: no raw HTML, no remote anything, links only where links.js allows. */

import hljs from "./vendor/highlight.min.js";
import { Marked } from "./vendor/marked.esm.js";
import purify from "./vendor/purify.es.mjs";
import { el, icon } from "./dom.js";
import { pointTo } from "./links.js";

const LONGEST_HIGHLIGHT = 50_000; // characters; beyond it colours cost more than they give
const POLICY = {
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["href", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  ADD_URI_SAFE_ATTR: ["align", "start"], // not addresses: the rule above is not for them
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const COLOURS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

export const marked = new Marked({ gfm: true, breaks: false });
marked.use({
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escape(text)}</p>\n` : escape(text)),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6); // the page itself has the first two
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
  },
});

/** @param {string} source @returns {DocumentFragment} */
export function render(source) {
  return renderTokens(marked.lexer(source));
}

/** @param {import("./vendor/marked.esm.js").TokensList} tokens @param {{highlight?: boolean}} [options] */
export function renderTokens(tokens, { highlight = true } = {}) {
  const fragment = purify.sanitize(marked.parser(tokens), POLICY);
  for (const link of fragment.querySelectorAll("a")) pointTo(link, link.getAttribute("href") ?? "");
  for (const pre of fragment.querySelectorAll("pre")) dressCode(pre, highlight);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div", { class: "table-frame", tabindex: "0" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const parent of [fragment, ...fragment.querySelectorAll("ul, ol")]) dropBlanks(parent);
  return fragment;
}

/** A block of code with its language and a button to copy it. @param {string} language @param {string} text */
export function codeBlock(language, text, highlight = true) {
  const code = el("code");
  const known = highlight && text.length <= LONGEST_HIGHLIGHT && hljs.getLanguage(language);
  if (known) code.append(purify.sanitize(hljs.highlight(text, { language, ignoreIllegals: true }).value, COLOURS));
  else code.textContent = text;
  return el("div", { class: "code" }, [
    el("div", { class: "code-head" }, [
      el("span", { class: "code-language" }, [language || "text"]),
      el("button", { class: "code-copy", type: "button", "data-action": "copy-code" }, [icon("copy"), el("span", {}, ["Copy"])]),
    ]),
    el("pre", { tabindex: "0" }, [code]),
  ]);
}

/** Line breaks between blocks mean nothing, and come or not by the way the text was cut. */
function dropBlanks(parent) {
  for (const node of Array.from(parent.childNodes)) {
    if (node.nodeType === Node.TEXT_NODE && node.data.trim() === "") node.remove();
  }
}

function dressCode(pre, highlight) {
  const code = pre.querySelector("code") ?? pre;
  const language = /(?:^|\s)language-([\w+#.-]{1,30})/.exec(code.getAttribute("class") ?? "")?.[1] ?? "";
  pre.replaceWith(codeBlock(language, code.textContent.replace(/\n$/, ""), highlight));
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
