/** The small REST interface beside the socket: conversations, feedback and models. */

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
  401: "You are signed out. Reload the page to sign in.",
  403: "You are signed out, or this page was open for too long. Reload it.",
  404: "This conversation does not exist any more.",
};
const UNKNOWN = "The server could not do this. Try again in a moment.";

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
  if (!response.ok) throw new ApiError(response.status, SENTENCES[response.status] ?? (await detailOf(response)));
  return response.status === 204 ? null : response.json();
}

/** The sentence of a problem+json answer. */
async function detailOf(response) {
  try {
    return (await response.json()).detail ?? UNKNOWN;
  } catch {
    return UNKNOWN; // not from our server, or not whole
  }
}

const conversation = (id) => `${config.urls.api}conversations/${id}/`;

/** @param {string} [page]  address of a later page, from `next` of the one before */
export const listConversations = (page) => call("GET", page ?? `${config.urls.api}conversations/`);
export const createConversation = () => call("POST", `${config.urls.api}conversations/`, {});
export const renameConversation = (id, title) => call("PATCH", conversation(id), { title });
export const deleteConversation = (id) => call("DELETE", conversation(id));
/** Resolves when the conversation may be read, else throws the reason. */
export const probeConversation = (id) => call("GET", `${conversation(id)}events/?limit=1`);
/** @param {string} [page]  as above */
export const listFeedback = (id, page) => call("GET", page ?? `${conversation(id)}feedback/`);
/** @param {string} turn @param {import("./feedback.js").Opinion|null} opinion  null takes it back */
export const giveFeedback = (turn, opinion) =>
  call("POST", `${config.urls.api}ai/feedback/`, { turn, ...(opinion ?? { sentiment: null }) });
export const listModels = () => call("GET", `${config.urls.api}models/`);
