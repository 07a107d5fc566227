/** Builds and updates elements without ever parsing text as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Object<string, string|boolean|null>} [attributes]  false and null leave an attribute out
 * @param {(Node|string)[]} [children]  strings become text
 */
export function el(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** @param {string} name  of a symbol in chat/templates/verbatim/partials/icons.svg */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A small button that a delegated listener answers. @param {string} action @param {string} symbol @param {string} label */
export function actionButton(action, symbol, label) {
  const button = el("button", { class: "icon-button small", type: "button", "data-action": action, title: label }, [icon(symbol)]);
  button.setAttribute("aria-label", label);
  return button;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`The page has no #${id}`);
  return element;
}

/**
 * Makes the children of `into` equal to those of `from`, touching only what differs, so that selections, scroll
 * positions and focus survive while an answer grows.
 * @param {Node} into
 * @param {Node} from  is used up
 * @param {number} start  children of `into` before this one stay as they are
 */
export function morph(into, from, start = 0) {
  const wanted = Array.from(from.childNodes);
  wanted.forEach((next, index) => {
    const now = into.childNodes[start + index];
    if (now === undefined) into.appendChild(next);
    else if (now.nodeName !== next.nodeName) now.replaceWith(next);
    else if (now.nodeType === Node.TEXT_NODE) growText(now, next.data);
    else {
      morphAttributes(now, next);
      morph(now, next);
    }
  });
  while (into.childNodes.length > start + wanted.length) into.lastChild.remove();
}

function growText(node, text) {
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function morphAttributes(now, next) {
  for (const { name } of Array.from(now.attributes)) if (!next.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of Array.from(next.attributes)) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
}
