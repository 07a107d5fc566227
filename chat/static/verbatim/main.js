/** Puts the page together: which conversation is open, what the buttons do, and when to draw. */

import { createConversation } from "./api.js";
import { Composer } from "./composer.js";
import { config, conversationIn, conversationPage } from "./config.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { cost, tokenParts, tokens } from "./format.js";
import { closeDrawer, setUpDrawer, setUpTheme } from "./drawer.js";
import { Feedback } from "./feedback.js";
import { usedSoFar } from "./meter.js";
import { ModelPicker } from "./model-picker.js";
import { ConnectionBanner, Notice, announce } from "./notices.js";
import { Follower } from "./scroll.js";
import { Sidebar } from "./sidebar.js";
import { Transcript } from "./transcript.js";
import { activeTurn, buildTree } from "./turns.js";

const SPOKEN_END = { completed: "The answer is complete.", cancelled: "The answer was stopped.", failed: "The answer failed." };

class Page {
  constructor() {
    /** @type {Conversation|null} */
    this.conversation = null;
    /** @type {Feedback|null} */
    this.feedback = null; // on the conversation
    this.opening = null; // text of a first message whose conversation is being made
    this.stopping = null;
    this.dirty = null; // what the next frame must draw: "delta" or "event"
    this.log = byId("transcript");
    this.composer = new Composer({ send: (text) => this.send(text), stop: () => this.stop() });
    this.models = new ModelPicker();
    this.notice = new Notice();
    this.banner = new ConnectionBanner({ retry: () => this.conversation?.line.retryNow(), home: () => this.go(null) });
    this.transcript = new Transcript(this.log, {
      regenerate: (turn) => this.deliver({ replaces: turn.id }),
      edit: (turn, text) => this.deliver({ replaces: turn.id, text }),
      opinion: (turn) => this.feedback?.of(turn) ?? null,
      judge: (turn, opinion) => this.feedback.give(turn, opinion),
      changed: () => this.follower.steady(() => this.draw(), { above: false }),
      lengthened: () => this.follower.steady(() => this.draw()),
    });
    this.follower = new Follower(byId("scroller"), this.log, byId("jump"));
    this.sidebar = new Sidebar({
      open: (id) => this.go(id),
      deleted: (id) => id === this.conversation?.id && this.go(null),
      failed: (message) => this.notice.show(message),
      listed: () => this.showTitle(),
    });
  }

  start() {
    setUpDrawer();
    setUpTheme();
    for (const id of ["new-chat", "topbar-new"]) byId(id).addEventListener("click", (event) => this.newChat(event));
    for (const starter of document.querySelectorAll(".starter")) {
      starter.addEventListener("click", () => this.send(starter.textContent));
    }
    byId("branch-latest").addEventListener("click", () => this.transcript.showNewest());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) this.stop();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.sidebar.refresh());
    window.addEventListener("popstate", () => this.open(conversationIn(location.pathname)));
    this.loadModels();
    this.sidebar.refresh();
    this.open(config.conversation);
  }

  loadModels() {
    this.models.load().catch((error) => this.notice.show(error.message));
  }

  newChat(event) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.go(null);
  }

  /** Goes to a conversation, or to an empty page. @param {string|null} id */
  go(id) {
    closeDrawer();
    const address = id === null ? config.urls.home : conversationPage(id);
    if (location.pathname !== address) history.pushState(null, "", address);
    this.open(id);
  }

  open(id) {
    if (id !== null && id === this.conversation?.id) return;
    this.conversation?.leave();
    this.banner.show(null);
    this.notice.clear();
    this.transcript.clear();
    this.feedback = null;
    this.conversation = id === null ? null : this.join(id);
    this.opening = null;
    this.stopping = null;
    this.follower.toEnd();
    this.composer.open(id ?? "new");
    this.sidebar.mark(id);
    this.draw();
    this.composer.focus();
  }

  join(id) {
    const conversation = new Conversation(id, {
      changed: (what) => conversation === this.conversation && this.changed(what),
      refused: (refusal) => this.refused(refusal),
      line: (state) => this.lineChanged(state),
      titled: (title) => conversation === this.conversation && this.retitle(id, title),
    });
    const feedback = new Feedback(id, {
      changed: () => feedback === this.feedback && this.changed("event"),
      failed: (message) => feedback === this.feedback && this.notice.show(message),
    });
    this.feedback = feedback;
    return conversation;
  }

  send(text) {
    this.follower.following = true;
    if (this.conversation !== null) return this.deliver({ text });
    return this.beginWith(text);
  }

  /** The first message makes the conversation. */
  async beginWith(text) {
    if (this.opening !== null) return;
    this.opening = text;
    this.draw();
    try {
      const { id } = await createConversation();
      if (this.opening !== text) return; // the person went elsewhere meanwhile
      history.pushState(null, "", conversationPage(id));
      this.sidebar.note({ id, title: text.trim().split("\n")[0].slice(0, 80) });
      this.conversation = this.join(id);
      this.feedback.skip();
      this.composer.open(id);
      this.sidebar.mark(id);
      this.deliver({ text });
    } catch (error) {
      this.composer.restore(text);
      this.notice.show(error.message);
    } finally {
      this.opening = null;
      this.draw();
    }
  }

  deliver(message) {
    this.notice.clear();
    this.follower.following = true;
    this.conversation.send({ ...message, model: this.models.value });
    this.composer.focus();
  }

  stop() {
    const turn = this.active();
    if (turn === null || this.stopping === turn.id || !this.conversation.stop(turn.id)) return;
    this.stopping = turn.id;
    this.draw();
  }

  refused({ code, message, pending, turn }) {
    if (turn === this.stopping) this.stopping = null;
    if (code === "unknown_model") this.loadModels(); // the one that was chosen is gone
    if (pending?.text) this.composer.restore(pending.text);
    this.notice.show(message);
    this.changed("event");
  }

  lineChanged(state) {
    this.banner.show(state);
    if (state.phase === "closed") this.composer.setMode("closed");
    if (state.phase !== "open") this.stopping = null; // it may not have arrived
  }

  active() {
    return this.conversation === null ? null : activeTurn(this.conversation.turns());
  }

  /** Draws once per frame at most; a hidden page has no frames, so it waits a moment instead. */
  changed(what) {
    if (this.dirty === null) {
      if (document.hidden) setTimeout(() => this.flush(), 250);
      else requestAnimationFrame(() => this.flush());
    }
    this.dirty = this.dirty === null || this.dirty === "delta" ? what : this.dirty;
  }

  flush() {
    const what = this.dirty;
    this.dirty = null;
    if (what === null) return;
    if (what === "delta" && this.log.ariaBusy === "true" && this.wasCaughtUp) {
      this.transcript.showDraft(this.conversation.log.draft, this.stopping);
      this.showUsage();
      this.follower.keep();
    } else this.draw();
  }

  draw() {
    const { conversation } = this;
    const tree = conversation?.turns() ?? buildTree([]);
    const pending = this.opening === null ? Array.from(conversation?.pending.values() ?? []) : [firstOf(this.opening)];
    const active = activeTurn(tree);
    const log = conversation?.log ?? null;
    this.wasCaughtUp = log?.caughtUp ?? true;
    if (log === null || log.caughtUp || tree.newest !== null || pending.length > 0) {
      this.transcript.show(tree, log?.draft ?? null, pending, this.stopping);
    }
    if (log?.caughtUp) this.feedback.read();
    this.composer.setMode(this.modeFor(active, pending));
    byId("branch-note").hidden = this.transcript.atNewest || active !== null || pending.length > 0;
    this.showState(tree, pending, log);
    this.speak(active, tree, log);
    this.follower.keep();
  }

  modeFor(active, pending) {
    if (this.conversation?.closed) return "closed";
    if (active !== null) return this.stopping === active.id ? "stopping" : "answering";
    return pending.length > 0 ? "stopping" : "idle";
  }

  showState(tree, pending, log) {
    const empty = tree.newest === null && pending.length === 0;
    const loading = empty && log !== null && !log.caughtUp;
    byId("chat").dataset.state = loading ? "loading" : empty ? "empty" : "talking";
    byId("welcome").hidden = !empty || loading;
    byId("starters").hidden = !empty || loading;
    this.showTitle();
    this.showUsage();
  }

  /** It has another title, whoever gave it. */
  retitle(id, title) {
    const known = this.sidebar.titleOf(id);
    if (!known || title === "" || title === known) return;
    this.sidebar.note({ id, title });
    this.showTitle();
  }

  /** Tokens and cost of the conversation, as they come. */
  showUsage() {
    const used = this.conversation === null ? null : usedSoFar(this.conversation.meter);
    const line = byId("usage");
    line.hidden = used === null;
    if (used === null) return;
    const parts = [tokens(used.usage), ...(used.cost === null ? [] : [cost(used.cost)])];
    line.textContent = `${used.estimated ? "~ " : ""}${parts.join(" · ")}`;
    line.title = tokenParts(used.usage);
  }

  showTitle() {
    const title = this.sidebar.titleOf(this.conversation?.id ?? null) || "New chat";
    byId("conversation-title").textContent = title;
    document.title = this.conversation === null ? "Verbatim" : `${title} · Verbatim`;
  }

  /** A screen reader hears an answer when it is whole, not letter by letter; and no history. */
  speak(active, tree, log) {
    const turn = tree.turns.get(tree.newest) ?? null;
    this.log.ariaBusy = String(active !== null || (log !== null && !log.caughtUp));
    this.log.ariaLive = log?.caughtUp && active === null ? "polite" : "off";
    if (log?.caughtUp && this.answering !== undefined && this.answering !== active?.id) {
      if (active !== null) announce("Answering…");
      else if (this.answering !== null && turn?.end) announce(SPOKEN_END[turn.end.status] ?? "");
      this.sidebar.refresh();
    }
    this.answering = log?.caughtUp ? (active?.id ?? null) : undefined;
    if (active === null) this.stopping = null;
  }
}

function firstOf(text) {
  return { requestId: "first", text, model: null, replaces: null, left: false, stored: false };
}

new Page().start();
