/** The list of conversations: newest first, renamed and deleted in place, longer as one scrolls. */

import { deleteConversation, listConversations, renameConversation } from "./api.js";
import { conversationPage } from "./config.js";
import { actionButton, byId, el, morph } from "./dom.js";
import { ageGroup } from "./format.js";

/**
 * @typedef {{id: string, title: string, updated_at: string, active_turn: string|null}} Item
 * @typedef {Object} Commands
 * @property {(id: string) => void} open
 * @property {(id: string) => void} deleted
 * @property {(message: string) => void} failed
 * @property {() => void} listed  titles may have changed
 */

export class Sidebar {
  /** @param {Commands} commands */
  constructor(commands) {
    this.commands = commands;
    this.list = byId("conversations");
    /** @type {Map<string, Item>} */
    this.items = new Map();
    this.next = null;
    this.current = null;
    this.renaming = null;
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.list.addEventListener("scroll", () => this.more(), { passive: true });
  }

  /** Reads the newest conversations again; what was listed further down stays. */
  async refresh() {
    try {
      const page = await listConversations();
      if (this.items.size <= page.results.length) this.next = page.next;
      for (const item of page.results) this.items.set(item.id, item);
      this.loaded = true;
      this.render();
      this.commands.listed();
    } catch (error) {
      this.commands.failed(error.message);
    }
  }

  async more() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    if (this.next === null || this.reading || scrollHeight - clientHeight - scrollTop > 300) return;
    this.reading = true;
    try {
      const page = await listConversations(this.next);
      for (const item of page.results) this.items.set(item.id, item);
      this.next = page.next;
      this.render();
    } catch (error) {
      this.commands.failed(error.message);
    } finally {
      this.reading = false;
    }
  }

  /** @param {string|null} id */
  mark(id) {
    this.current = id;
    this.render();
  }

  /** @param {string|null} id */
  titleOf(id) {
    return this.items.get(id)?.title ?? "";
  }

  /** Shows at once what the next reading will confirm. @param {Partial<Item> & {id: string}} change */
  note(change) {
    const known = this.items.get(change.id) ?? { title: "", updated_at: new Date().toISOString(), active_turn: null };
    this.items.set(change.id, { ...known, ...change });
    this.render();
  }

  render() {
    if (this.renaming !== null) return;
    const now = new Date();
    const items = Array.from(this.items.values()).sort((a, b) => b.updated_at.localeCompare(a.updated_at));
    const groups = Map.groupBy(items, (item) => ageGroup(new Date(item.updated_at), now));
    const fragment = new DocumentFragment();
    for (const [name, members] of groups) {
      fragment.append(el("section", { class: "group" }, [
        el("h2", { class: "group-name" }, [name]),
        el("ul", {}, members.map((item) => this.row(item))),
      ]));
    }
    if (items.length === 0 && this.loaded) fragment.append(el("p", { class: "no-conversations" }, ["Your conversations will be listed here."]));
    morph(this.list, fragment);
  }

  row(item) {
    const title = item.title || "New chat";
    const current = item.id === this.current;
    const link = el("a", { class: "item-link", href: conversationPage(item.id), "aria-current": current && "page", title }, [
      el("span", { class: "item-title" }, [title]),
      ...(item.active_turn ? [el("span", { class: "item-active", role: "img", "aria-label": "answering" })] : []),
    ]);
    const buttons = el("span", { class: "item-actions" }, [
      actionButton("rename", "edit", `Rename “${title}”`),
      actionButton("delete", "trash", `Delete “${title}”`),
    ]);
    return el("li", { class: current ? "item current" : "item", "data-id": item.id }, [link, buttons]);
  }

  clicked(event) {
    const row = event.target.closest(".item");
    if (row === null) return;
    const { id } = row.dataset;
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (action === "rename") this.rename(row, id);
    else if (action === "delete") this.delete(id);
    else if (event.target.closest("a") && !(event.metaKey || event.ctrlKey || event.shiftKey)) {
      event.preventDefault();
      this.commands.open(id);
    }
  }

  rename(row, id) {
    this.renaming = id;
    const before = this.titleOf(id);
    const box = el("input", { class: "item-rename", "aria-label": "Title", maxlength: "200" });
    box.value = before;
    row.classList.add("renaming");
    row.append(box);
    box.focus();
    box.select();
    const finish = (keep) => {
      if (this.renaming !== id) return;
      this.renaming = null;
      box.remove();
      row.classList.remove("renaming");
      const title = box.value.trim();
      if (keep && title !== "" && title !== before) this.saveTitle(id, title, before);
      else this.render();
      this.rowOf(id)?.querySelector(".item-link").focus();
    };
    box.addEventListener("blur", () => finish(true));
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter");
    });
  }

  async saveTitle(id, title, before) {
    this.note({ id, title });
    this.commands.listed();
    try {
      await renameConversation(id, title);
    } catch (error) {
      this.note({ id, title: before });
      this.commands.listed();
      this.commands.failed(error.message);
    }
  }

  async delete(id) {
    const dialog = byId("delete-dialog");
    byId("delete-name").textContent = `“${this.titleOf(id) || "New chat"}”`;
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "delete") return;
    try {
      await deleteConversation(id);
    } catch (error) {
      if (error.status !== 404) return this.commands.failed(error.message);
    }
    this.items.delete(id);
    this.render();
    this.list.focus();
    this.commands.deleted(id);
  }

  rowOf(id) {
    return Array.from(this.list.querySelectorAll(".item")).find((row) => row.dataset.id === id);
  }
}
