/** What a person must know beside the answers: the state of the line, refusals, and words for screen readers. */

import { loginPage } from "./config.js";
import { byId, el, icon } from "./dom.js";
import { CLOSE } from "./socket.js";

const GRACE = 1200; // milliseconds a break may last before it is worth a word

const CLOSED = {
  [CLOSE.signedOut]: "You are signed out.",
  [CLOSE.forbidden]: "You may not read this conversation.",
  [CLOSE.notFound]: "This conversation does not exist, or it is not yours.",
};

export class ConnectionBanner {
  /** @param {{retry: () => void, home: () => void}} commands */
  constructor(commands) {
    this.commands = commands;
    this.element = byId("connection");
  }

  /** @param {import("./socket.js").LineState|null} state */
  show(state) {
    clearInterval(this.ticker);
    if (state === null || state.phase === "open") {
      clearTimeout(this.patience);
      this.patience = undefined;
      this.element.hidden = true;
    } else if (state.phase === "closed") this.say("error", CLOSED[state.code], this.wayOut(state.code));
    else if (state.phase === "offline") this.say("offline", "You are offline. Answers in progress go on without you and will be here when you return.");
    else this.whenPatienceEnds(() => this.showWait(state));
  }

  /** Short breaks heal unseen; once shown, the banner follows every change. */
  whenPatienceEnds(then) {
    if (!this.element.hidden) then();
    else {
      clearTimeout(this.patience);
      this.patience = setTimeout(then, GRACE);
    }
  }

  showWait({ phase, retryAt }) {
    if (phase === "connecting") return this.say("waiting", "Connecting…");
    const tick = () => {
      const seconds = Math.ceil((retryAt - Date.now()) / 1000);
      this.say("waiting", seconds > 0 ? `Connection lost. Trying again in ${seconds} s.` : "Connecting…", button("Try now", this.commands.retry));
    };
    clearInterval(this.ticker);
    this.ticker = setInterval(tick, 1000);
    tick();
  }

  wayOut(code) {
    if (code === CLOSE.signedOut) return el("a", { class: "link-button", href: loginPage() }, ["Sign in"]);
    return button("New chat", this.commands.home);
  }

  say(tone, text, action = null) {
    this.element.dataset.tone = tone;
    this.element.hidden = false;
    const words = this.element.querySelector("span");
    if (words?.textContent === text && action === null) return;
    this.element.replaceChildren(el("span", {}, [text]), ...(action === null ? [] : [action]));
  }
}

function button(text, act) {
  const element = el("button", { class: "link-button", type: "button" }, [text]);
  element.addEventListener("click", act);
  return element;
}

/** A sentence above the composer about something that was refused; a new one replaces it. */
export class Notice {
  constructor() {
    this.element = byId("notice");
  }

  /** @param {string} text */
  show(text) {
    const close = el("button", { class: "icon-button small", type: "button", "aria-label": "Dismiss" }, [icon("close")]);
    close.addEventListener("click", () => this.clear());
    this.element.replaceChildren(icon("warning"), el("span", {}, [text]), close);
    this.element.hidden = false;
  }

  clear() {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}

/** @param {string} text  for screen readers only */
export function announce(text) {
  byId("announcer").textContent = text;
}
