/** One conversation's socket that stays: it resumes where it broke, backs off, and notices when the line is dead. */

/**
 * @typedef {{phase: "connecting"|"open"|"waiting"|"offline"|"closed", retryAt?: number, code?: number}} LineState
 *   `retryAt` in milliseconds since the epoch; `code` is the close code that made it `closed` for good
 */

export const CLOSE = { badRequest: 4400, signedOut: 4401, forbidden: 4403, notFound: 4404, restart: 1012 };
const FINAL = new Set([CLOSE.signedOut, CLOSE.forbidden, CLOSE.notFound]);

const FIRST_WAIT = 500; // all times in milliseconds
const LONGEST_WAIT = 30_000;
const QUIET = 40_000;
const PONG_WAIT = 10_000;

/** How long to wait before try number `tries` (1, 2, ...). @param {number} tries @param {() => number} random */
export function backOff(tries, random = Math.random) {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * (0.5 + random() / 2);
}

export class Line {
  /**
   * @param {Object} options
   * @param {() => string} options.address  asked anew for every try, since the cursor moves
   * @param {(frame: Object) => void} options.onFrame
   * @param {(state: LineState) => void} options.onState
   * @param {() => void} options.onRefused  4400: what we asked for made no sense to the server
   * @param {() => Promise<number|null>} options.diagnose  a close code when there is no point in trying again
   */
  constructor(options) {
    this.options = options;
    this.tries = 0;
    this.socket = null;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    window.addEventListener("online", () => this.retryNow(), { signal });
    window.addEventListener("offline", () => this.drop(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.wake(), { signal });
    this.connect();
  }

  /** @returns {boolean} whether the frame left; it may still be lost */
  send(frame) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Does not wait any longer; nothing happens while connected. */
  retryNow() {
    if (this.socket !== null || this.listeners.signal.aborted) return;
    clearTimeout(this.timer);
    this.connect();
  }

  /** The page is looked at again: it may have slept while the line died. */
  wake() {
    if (this.socket === null) this.retryNow();
    else this.askForLife();
  }

  close() {
    this.listeners.abort();
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    this.forget();
  }

  connect() {
    this.state({ phase: "connecting" });
    const socket = new WebSocket(this.options.address());
    this.socket = socket;
    this.listen(); // a handshake can hang, too
    socket.onopen = () => {
      this.state({ phase: "open" });
      this.listen();
    };
    socket.onmessage = ({ data }) => {
      this.tries = 0;
      this.listen();
      this.options.onFrame(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.closed(code);
  }

  closed(code) {
    this.forget();
    if (code === CLOSE.badRequest) this.options.onRefused();
    if (FINAL.has(code)) this.giveUp(code);
    else this.wait(code);
  }

  async wait(code) {
    if (!navigator.onLine) {
      this.state({ phase: "offline" });
      return;
    }
    this.tries += 1;
    const delay = code === CLOSE.restart ? FIRST_WAIT * (1 + Math.random()) : backOff(this.tries);
    this.state({ phase: "waiting", retryAt: Date.now() + delay });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retryNow(), delay);
    if (this.tries % 3 === 2) await this.askWhy(); // a refused handshake looks like a lost line from in here
  }

  async askWhy() {
    const code = await this.options.diagnose();
    if (code !== null && this.socket === null) this.giveUp(code);
  }

  giveUp(code) {
    this.close();
    this.state({ phase: "closed", code });
  }

  /** Lets go of the connection and comes back for it, from the cursor. */
  drop() {
    this.forget();
    this.wait(0);
  }

  /** Closes the socket without hearing of it. */
  forget() {
    clearTimeout(this.watch);
    if (this.socket === null) return;
    Object.assign(this.socket, { onopen: null, onmessage: null, onclose: null });
    this.socket.close();
    this.socket = null;
  }

  /** After a long silence asks for a sign of life; without one the line is dead. */
  listen() {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.askForLife(), QUIET);
  }

  askForLife() {
    clearTimeout(this.watch);
    this.send({ type: "ping" });
    this.watch = setTimeout(() => this.drop(), PONG_WAIT);
  }

  state(state) {
    this.options.onState(state);
  }
}
