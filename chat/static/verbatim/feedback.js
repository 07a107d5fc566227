/** What the person thinks of the answers of one conversation: read once, changed at a click, kept by the server. */

import { giveFeedback, listFeedback } from "./api.js";

export const LIKE = 0;
export const DISLIKE = 1;

/** @typedef {{sentiment: 0|1, comment: string}} Opinion */

export class Feedback {
  /**
   * @param {string} conversation
   * @param {{changed: () => void, failed: (message: string) => void}} listener
   */
  constructor(conversation, listener) {
    this.conversation = conversation;
    this.listener = listener;
    /** @type {Map<string, Opinion|null>} turn → what is thought of it; null once it was taken back */
    this.opinions = new Map();
    this.asked = false;
    this.sending = Promise.resolve();
  }

  /** @param {string} turn @returns {Opinion|null} */
  of(turn) {
    return this.opinions.get(turn) ?? null;
  }

  /** Reads what was said on earlier visits, once; what was clicked meanwhile counts more. */
  async read() {
    if (this.asked) return;
    this.asked = true;
    try {
      let page;
      do {
        page = await listFeedback(this.conversation, page?.next);
        for (const { turn, sentiment, comment } of page.results) {
          if (!this.opinions.has(turn)) this.opinions.set(turn, { sentiment, comment });
        }
      } while (page.next !== null);
      if (this.opinions.size > 0) this.listener.changed();
    } catch (error) {
      this.listener.failed(error.message);
    }
  }

  /** Nothing was said yet, so there is nothing to read. */
  skip() {
    this.asked = true;
  }

  /** Shown at once; taken back if the server refuses. @param {string} turn @param {Opinion|null} opinion */
  give(turn, opinion) {
    const before = this.of(turn);
    this.opinions.set(turn, opinion);
    this.listener.changed();
    this.sending = this.sending.then(() => this.tell(turn, opinion, before)); // one after the other: the last one holds
  }

  async tell(turn, opinion, before) {
    try {
      await giveFeedback(turn, opinion);
    } catch (error) {
      if (this.opinions.get(turn) === opinion) this.opinions.set(turn, before);
      this.listener.changed();
      this.listener.failed(error.message);
    }
  }
}
