/** The sidebar as a drawer on narrow screens, foldable on wide ones; and the choice of light or dark. */

import { byId } from "./dom.js";

const NARROW = matchMedia("(max-width: 760px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");

export function closeDrawer() {
  if (NARROW.matches) setOpen(false);
}

export function setUpDrawer() {
  const { body } = document;
  if (localStorage.getItem("verbatim:sidebar") === "folded") body.classList.add("sidebar-folded");
  byId("open-sidebar").addEventListener("click", () => {
    if (NARROW.matches) setOpen(true);
    else fold(false);
  });
  byId("fold-sidebar").addEventListener("click", () => fold(true));
  byId("close-sidebar").addEventListener("click", () => setOpen(false));
  byId("scrim").addEventListener("click", () => setOpen(false));
  document.addEventListener("keydown", closeOnEscape, { capture: true });
  NARROW.addEventListener("change", () => setOpen(false));
  setOpen(false);
}

export function setUpTheme() {
  byId("theme-toggle").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = (root.dataset.theme ?? (DARK.matches ? "dark" : "light")) === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("verbatim:theme", root.dataset.theme);
  });
}

/** Before anybody else hears it: the same key stops an answer. But a title that is being written has its own use for it. */
function closeOnEscape(event) {
  const busy = document.querySelector("dialog[open], .item-rename") !== null;
  if (event.key !== "Escape" || busy || !document.body.classList.contains("drawer-open")) return;
  event.stopPropagation();
  setOpen(false);
}

function fold(folded) {
  document.body.classList.toggle("sidebar-folded", folded);
  localStorage.setItem("verbatim:sidebar", folded ? "folded" : "open");
  byId(folded ? "open-sidebar" : "fold-sidebar").focus();
}

/** While the drawer is open the chat behind it is out of reach, and the other way round. */
function setOpen(open) {
  const was = document.body.classList.contains("drawer-open");
  document.body.classList.toggle("drawer-open", open);
  byId("scrim").hidden = !open;
  byId("chat").inert = open;
  byId("sidebar").inert = NARROW.matches && !open;
  byId("open-sidebar").setAttribute("aria-expanded", String(open));
  if (open) byId("close-sidebar").focus();
  else if (was) byId("open-sidebar").focus();
}
