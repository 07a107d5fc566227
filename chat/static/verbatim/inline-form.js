/** A small form in the place of what it changes: Enter sends it, Shift and Enter make a line, Escape closes it. */

import { el } from "./dom.js";

/**
 * @param {Object} about
 * @param {HTMLElement} about.into  gets the form as its last child, and the class `editing` as long as it is there
 * @param {string} about.label
 * @param {string} about.text
 * @param {string} about.verb  on the button that sends
 * @param {number} about.limit  characters
 * @param {boolean} [about.mayBeEmpty]
 * @param {(text: string) => void} about.send
 * @param {() => void} about.closed  the focus needs another place
 */
export function openForm({ into, label, text, verb, limit, mayBeEmpty = false, send, closed }) {
  const box = el("textarea", { class: "edit-text", "aria-label": label, placeholder: label, maxlength: String(limit) });
  box.value = text;
  const form = el("form", { class: "edit" }, [
    box,
    el("div", { class: "edit-row" }, [
      el("button", { class: "button", type: "button", value: "cancel" }, ["Cancel"]),
      el("button", { class: "button button-primary", type: "submit" }, [verb]),
    ]),
  ]);
  const close = () => {
    form.remove();
    into.classList.remove("editing");
    closed();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!mayBeEmpty && box.value.trim() === "") return;
    close();
    send(box.value);
  });
  form.querySelector('[value="cancel"]').addEventListener("click", close);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.target === box && event.key === "Enter" && !event.shiftKey && !event.isComposing) form.requestSubmit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  into.classList.add("editing");
  into.append(form);
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}
