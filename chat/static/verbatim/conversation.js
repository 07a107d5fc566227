/** One open conversation: its log, its line to the server, and what was sent but not yet stored. */

import { probeConversation } from "./api.js";
import { socketAddress } from "./config.js";
import { dropUnfinished, emptyLog, fold } from "./log.js";
import { emptyMeter, measure } from "./meter.js";
import { CLOSE, Line } from "./socket.js";
import { buildTree } from "./turns.js";

const FINAL_BY_STATUS = { 401: CLOSE.signedOut, 403: CLOSE.forbidden, 404: CLOSE.notFound };

/**
 * @typedef {{requestId: string, text: string|null, model: string|null, replaces: string|null, left: boolean, stored: boolean}} Pending
 *   a message on its way; `left`: handed to the connection that is open now; `stored`: accepted, its event is to come
 * @typedef {{code: string, message: string, pending: Pending|null, turn: string|null}} Refusal
 */

export class Conversation {
  /**
   * @param {string} id
   * @param {Object} listener
   * @param {(reason: "event"|"delta"|"pending") => void} listener.changed
   * @param {(refusal: Refusal) => void} listener.refused
   * @param {(state: import("./socket.js").LineState) => void} listener.line
   * @param {(title: string) => void} [listener.titled]
   */
  constructor(id, listener) {
    this.id = id;
    this.listener = listener;
    this.log = emptyLog();
    this.tree = buildTree([]);
    this.meter = emptyMeter();
    /** @type {Map<string, Pending>} */
    this.pending = new Map();
    this.leaving = false;
    this.closed = false; // for good
    this.line = new Line({
      address: () => socketAddress(id, this.log.cursor),
      onFrame: (frame) => this.take(frame),
      onState: (state) => this.lineChanged(state),
      onRefused: () => this.startOver(),
      diagnose: () => this.diagnose(),
    });
  }

  /** @param {{text?: string|null, model?: string|null, replaces?: string|null}} message @returns {Pending} */
  send({ text = null, model = null, replaces = null }) {
    const pending = { requestId: crypto.randomUUID(), text, model, replaces, left: false, stored: false };
    this.pending.set(pending.requestId, pending);
    this.deliver(pending);
    this.listener.changed("pending");
    return pending;
  }

  /** @param {string} turn */
  stop(turn) {
    return this.line.send({ type: "stop", turn });
  }

  /** Closes the line, once what was sent has been stored or refused. */
  leave() {
    this.leaving = true;
    this.listener = { changed() {}, refused() {}, line() {} };
    if (this.pending.size === 0) this.line.close();
  }

  take(frame) {
    const events = this.log.events.length;
    fold(this.log, frame);
    const { meter } = this;
    this.meter = measure(meter, frame);
    if (frame.type === "state" && frame.key === "title") this.listener.titled?.(frame.value);
    if (this.log.gap) this.line.drop();
    if (frame.type === "accepted") this.accept(frame.request_id);
    if (frame.type === "caught_up") this.settleStored();
    if (frame.type === "error") this.refuse(frame);
    if (frame.type === "event" || frame.type === "reset" || this.log.events.length !== events) {
      if (frame.kind === "user_message") this.settle(frame.data.request_id);
      this.tree = null;
      this.listener.changed("event");
    } else if (frame.type === "delta" || frame.type === "caught_up" || this.meter !== meter) this.listener.changed("delta");
  }

  /** The tree of turns, built anew when events came. */
  turns() {
    this.tree ??= buildTree(this.log.events);
    return this.tree;
  }

  lineChanged(state) {
    if (state.phase === "open") {
      dropUnfinished(this.log);
      for (const pending of this.pending.values()) this.deliver(pending);
    } else {
      for (const pending of this.pending.values()) pending.left = false;
    }
    this.closed = state.phase === "closed";
    if (this.leaving && state.phase === "closed") this.pending.clear();
    this.listener.line(state);
  }

  /** The same request id every time: the server knows a repeated message by it. */
  deliver(pending) {
    if (pending.left || pending.stored) return;
    const { requestId, text, model, replaces } = pending;
    const frame = { type: "send", request_id: requestId };
    if (text !== null) frame.text = text;
    if (model !== null) frame.model = model;
    if (replaces !== null) frame.replaces = replaces;
    pending.left = this.line.send(frame);
  }

  /** Stays on the page until its event is there; of a repeated message that may have been so all along. */
  accept(requestId) {
    const pending = this.pending.get(requestId);
    if (pending === undefined) return;
    pending.stored = true;
    if (this.leaving || this.log.events.some(({ data }) => data.request_id === requestId)) this.settle(requestId);
  }

  settleStored() {
    for (const { requestId, stored } of this.pending.values()) if (stored) this.settle(requestId);
  }

  settle(requestId) {
    if (!this.pending.delete(requestId)) return;
    this.listener.changed("pending");
    if (this.leaving && this.pending.size === 0) this.line.close();
  }

  refuse({ code, message, request_id: requestId, turn = null }) {
    const pending = this.pending.get(requestId) ?? null;
    this.settle(requestId);
    this.listener.refused({ code, message, pending, turn });
  }

  startOver() {
    this.log = emptyLog();
    this.tree = null;
    this.meter = emptyMeter();
    this.listener.changed("event");
  }

  async diagnose() {
    try {
      await probeConversation(this.id);
      return null;
    } catch (error) {
      return FINAL_BY_STATUS[error.status] ?? null;
    }
  }
}
