/** Where a message is written: grows with it, sends it, and turns into the stop button while an answer comes. */

import { byId } from "./dom.js";

const TALLEST = 240; // pixels

export class Composer {
  /** @param {{send: (text: string) => void, stop: () => void}} commands */
  constructor(commands) {
    this.commands = commands;
    this.form = byId("composer");
    this.text = byId("composer-text");
    this.button = byId("send");
    this.mode = "idle";
    this.key = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      if (this.mode === "idle") this.submit();
    });
    this.text.addEventListener("input", () => this.changed());
    this.form.addEventListener("click", ({ target }) => target === this.form && this.focus());
  }

  /** Keeps what is written but not sent, per conversation, for this tab. @param {string} key */
  open(key) {
    this.key = `verbatim:unsent:${key}`;
    this.text.value = sessionStorage.getItem(this.key) ?? "";
    this.changed();
  }

  /** @param {"idle"|"answering"|"stopping"|"closed"} mode */
  setMode(mode) {
    this.mode = mode;
    this.form.dataset.mode = mode;
    this.text.disabled = mode === "closed";
    this.update();
  }

  /** A refused message comes back, unless something else was written meanwhile. @param {string} text */
  restore(text) {
    if (this.text.value.trim() === "") this.text.value = text;
    this.changed();
    this.focus();
  }

  focus() {
    this.text.focus({ preventScroll: true });
  }

  submit() {
    if (this.mode === "answering") return this.commands.stop();
    if (this.mode !== "idle" || this.text.value.trim() === "") return;
    const text = this.text.value;
    this.text.value = "";
    this.changed();
    this.commands.send(text);
  }

  changed() {
    if (this.text.value === "") sessionStorage.removeItem(this.key);
    else sessionStorage.setItem(this.key, this.text.value);
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, TALLEST)}px`;
    this.update();
  }

  update() {
    const busy = this.mode === "answering" || this.mode === "stopping";
    this.button.disabled = this.mode === "stopping" || this.mode === "closed" || (!busy && this.text.value.trim() === "");
    this.button.setAttribute("aria-label", busy ? "Stop the answer" : "Send");
    this.button.title = busy ? "Stop (Esc)" : "Send";
  }
}
