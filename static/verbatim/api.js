/** The small REST interface beside the socket: conversations and models. */

import { config } from "./config.js";

/** A request that was refused or did not arrive; the message is for the person who waits. */
export class ApiError extends Error {
  /** @param {number} status  0 when there was no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const SENTENCES = {
  0: "The server cannot be reached. Check your connection and try again.",
  401: "You are signed out.",
  403: "You are signed out, or this page was open for too long. Reload it.",
  404: "This conversation does not exist any more.",
  429: "That was a little fast. Wait a moment and try again.",
  503: "The server is busy. Try again in a moment.",
};

async function call(method, address, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = document.querySelector('meta[name="csrf-token"]').content;
  let response;
  try {
    response = await fetch(address, { method, headers, credentials: "same-origin", body: body && JSON.stringify(body) });
  } catch {
    throw new ApiError(0, SENTENCES[0]);
  }
  if (!response.ok) {
    throw new ApiError(response.status, SENTENCES[response.status] ?? "The server could not do this. Try again in a moment.");
  }
  return response.status === 204 ? null : response.json();
}

const conversation = (id) => `${config.urls.api}conversations/${id}/`;

/** @param {string} [page]  address of a later page, from `next` of the one before */
export const listConversations = (page) => call("GET", page ?? `${config.urls.api}conversations/`);
export const createConversation = () => call("POST", `${config.urls.api}conversations/`, {});
export const renameConversation = (id, title) => call("PATCH", conversation(id), { title });
export const deleteConversation = (id) => call("DELETE", conversation(id));
/** Resolves when the conversation may be read, else throws the reason. */
export const probeConversation = (id) => call("GET", `${conversation(id)}events/?limit=1`);
export const listModels = () => call("GET", `${config.urls.api}models/`);
