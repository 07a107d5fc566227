/** Keeps the newest text in sight for a reader who is at the end, and leaves everybody else where they are. */

const NEAR = 64; // pixels from the end that still count as being there

export class Follower {
  /** @param {HTMLElement} scroller @param {HTMLElement} content @param {HTMLButtonElement} jump */
  constructor(scroller, content, jump) {
    this.scroller = scroller;
    this.jump = jump;
    this.following = true;
    this.top = 0;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.keep()).observe(content);
    new ResizeObserver(() => this.keep()).observe(scroller);
  }

  /** Only the reader scrolls up; growth and our own scrolling go down. */
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const left = scrollHeight - clientHeight - scrollTop;
    if (scrollTop < this.top - 1 && left > 1) this.following = false;
    if (left <= NEAR && scrollTop >= this.top) this.following = true;
    this.top = scrollTop;
    this.jump.hidden = this.following || left <= NEAR;
  }

  /** After something was added. */
  keep() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.scrolled();
  }

  toEnd() {
    this.following = true;
    this.keep();
  }

  /** Runs a change without moving what is being read; `above`: the change adds to what comes before it. */
  steady(change, { above = true } = {}) {
    const { scrollTop, scrollHeight } = this.scroller;
    this.following = false;
    change();
    this.scroller.scrollTop = scrollTop + (above ? this.scroller.scrollHeight - scrollHeight : 0);
    this.scrolled();
  }
}
