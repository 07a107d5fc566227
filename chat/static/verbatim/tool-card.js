/** A tool the model called: its name, arguments as they come, result, duration and sources. */

import { el, icon } from "./dom.js";
import { duration } from "./format.js";
import { pointTo } from "./links.js";

const PREVIEW = 120; // characters

/**
 * @typedef {Object} CallView
 * @property {string} name
 * @property {string} arguments  JSON text, perhaps unfinished
 * @property {"preparing"|"running"|"done"|"error"|"interrupted"|"left"} state  left: to the program that asked
 * @property {import("./turns.js").ToolResult|null} result
 */

const STATE_LABEL = {
  preparing: "Preparing",
  running: "Running",
  done: "Done",
  error: "Failed",
  interrupted: "Interrupted",
  left: "Left to the caller",
};
const STATE_ICON = { done: "check", error: "warning", interrupted: "warning", left: "right" };

/** @param {CallView} call @returns {HTMLElement} */
export function toolCard(call) {
  return el("details", { class: "tool", "data-state": call.state }, [
    el("summary", { class: "tool-head" }, [
      el("span", { class: "tool-sign" }, [STATE_ICON[call.state] ? icon(STATE_ICON[call.state]) : el("span", { class: "spinner" })]),
      el("span", { class: "tool-name" }, [call.name || "Tool"]),
      el("span", { class: "tool-preview" }, [preview(call.arguments)]),
      el("span", { class: "tool-state" }, [stateLabel(call)]),
      icon("chevron"),
    ]),
    el("div", { class: "tool-body" }, [
      section("Arguments", pretty(call.arguments) || "none"),
      ...(call.result === null ? [] : [section(call.result.isError ? "Error" : "Result", pretty(call.result.content))]),
      ...(call.result?.sources.length > 0 ? [sourceList(call.result.sources)] : []),
    ]),
  ]);
}

function stateLabel({ state, result }) {
  if (state === "done" && result.durationMs > 0) return duration(result.durationMs);
  if (state === "error" && result.durationMs > 0) return `${STATE_LABEL.error} after ${duration(result.durationMs)}`;
  return STATE_LABEL[state];
}

function section(title, text) {
  return el("div", { class: "tool-section" }, [
    el("div", { class: "tool-title" }, [title]),
    el("pre", { tabindex: "0" }, [text]),
  ]);
}

function sourceList(sources) {
  return el("div", { class: "tool-section" }, [
    el("div", { class: "tool-title" }, ["Sources"]),
    el("ul", { class: "tool-sources" }, sources.map((source) => el("li", {}, [sourceLink(source)]))),
  ]);
}

function sourceLink({ title, url }) {
  const link = el("a", {}, [title || url]);
  pointTo(link, url);
  return link;
}

/** The values of the arguments in one line; what is not yet JSON is shown as it comes. */
function preview(text) {
  const value = parse(text);
  const line = value !== null && typeof value === "object" ? Object.values(value).map(plain).join(", ") : text;
  return line.length > PREVIEW ? `${line.slice(0, PREVIEW)}…` : line;
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function pretty(text) {
  const value = parse(text);
  return value !== null && typeof value === "object" ? JSON.stringify(value, null, 2) : text;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
