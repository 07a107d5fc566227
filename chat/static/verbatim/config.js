/** What the server tells the page when it renders it: addresses and who is there. */

import { byId } from "./dom.js";

/**
 * @typedef {Object} Config
 * @property {{home: string, conversation: string, login: string, api: string, socket: string}} urls
 *   `conversation` and `socket` hold NO_ID where the id belongs; `socket` has no scheme and host
 * @property {{name: string, is_guest: boolean, is_staff: boolean}} user
 * @property {string|null} conversation  id of the conversation to open
 */

export const NO_ID = "00000000-0000-0000-0000-000000000000";

/** @type {Config} */
export const config = JSON.parse(byId("verbatim-config").textContent);

/** @param {string} id */
export function conversationPage(id) {
  return config.urls.conversation.replace(NO_ID, id);
}

/** @param {string} path @returns {string|null} the id of the conversation this path shows */
export function conversationIn(path) {
  const [before, after] = config.urls.conversation.split(NO_ID);
  const id = path.slice(before.length, path.length - after.length);
  return path.startsWith(before) && path.endsWith(after) && /^[0-9a-f-]{36}$/.test(id) ? id : null;
}

/** @param {string} id @param {string} cursor  empty for the whole */
export function socketAddress(id, cursor) {
  const address = new URL(config.urls.socket.replace(NO_ID, id), location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (cursor !== "") address.searchParams.set("after", cursor);
  return address.href;
}

export function loginPage() {
  return `${config.urls.login}?next=${encodeURIComponent(location.pathname)}`;
}
