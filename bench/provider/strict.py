"""What a careful provider refuses: histories that do not hold together."""

from __future__ import annotations

import re
from typing import Any

ROLES = {"system", "developer", "user", "assistant", "tool"}
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Refused(Exception):
    """The request is not valid; the message says why."""


def check(body: Any) -> None:
    """Raise `Refused` unless `body` is a streaming request with a history that OpenAI would take."""
    _require(isinstance(body, dict), "the body is not an object")
    _require(isinstance(body.get("model"), str) and body["model"], "model is missing")
    _require(body.get("stream") is True, "stream must be true")
    messages = body.get("messages")
    _require(isinstance(messages, list) and messages, "messages are missing")
    _check_tools(body)
    for position, message in enumerate(messages):
        _check_message(message, position=position, before=messages[:position])
    _check_calls(messages)
    _require(messages[-1]["role"] in ("user", "tool"), "the last message must be of the user or a tool")


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise Refused(reason)


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    _require(tools is None or (isinstance(tools, list) and tools), "tools must not be empty")
    _require(tools or "tool_choice" not in body, "tool_choice is only allowed with tools")
    for tool in tools or ():
        function = tool.get("function", {})
        _require(tool.get("type") == "function", "a tool must be of type function")
        _require(re.fullmatch(r"[\w-]{1,64}", str(function.get("name"))), "a tool's name is not valid")
        _require(function.get("parameters", {}).get("type") == "object", "a tool's parameters must be of type object")


def _check_message(message: Any, *, position: int, before: list[Any]) -> None:
    _require(isinstance(message, dict) and message.get("role") in ROLES, f"message {position} has no known role")
    role, content = message["role"], message.get("content")
    _require(isinstance(content, str | list | None), f"message {position} has strange content")
    _require(not _UNSTORABLE.search(str(content)), f"message {position} holds NUL or half a character")
    if role in ("system", "developer"):
        _require(all(m["role"] in ("system", "developer") for m in before), "a system message must come first")
    if role == "user":
        _require(content, f"message {position} is an empty user message")
        _require(not before or before[-1] != message, f"message {position} repeats the user message before it")
    if role == "assistant":
        _require(content or message.get("tool_calls"), f"message {position} is an empty assistant message")
    if role == "tool":
        _require(isinstance(content, str | list), f"message {position} is a tool message without content")


def _check_calls(messages: list[dict[str, Any]]) -> None:
    """Every call is answered once, right after the message that made it; nothing else is answered."""
    open_calls: set[str] = set()
    for position, message in enumerate(messages):
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            _require(call_id in open_calls, f"message {position} answers no call of the assistant message before it")
            open_calls.discard(str(call_id))
            continue
        _require(not open_calls, f"message {position} comes before all tool calls are answered")
        calls = message.get("tool_calls") or []
        for call in calls:
            _check_call(call, position=position)
        open_calls = {call["id"] for call in calls}
        _require(len(open_calls) == len(calls), f"message {position} repeats a tool call id")
    _require(not open_calls, "the last tool calls are not answered")


def _check_call(call: Any, *, position: int) -> None:
    function = call.get("function", {}) if isinstance(call, dict) else {}
    sound = (
        isinstance(function, dict)
        and call.get("type") == "function"
        and isinstance(call.get("id"), str)
        and call["id"]
        and isinstance(function.get("name"), str)
        and function["name"]
        and isinstance(function.get("arguments"), str)
    )
    _require(sound, f"message {position} holds a tool call without id, type, name or arguments")
