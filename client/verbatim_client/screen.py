"""What a terminal shows of a conversation: words as they come, a line per tool, a line for what it cost."""

from __future__ import annotations

import threading
from typing import Any, TextIO

from verbatim_client.frames import Event
from verbatim_client.log import Piece
from verbatim_client.stats import Stats, Usage
from verbatim_client.telling import Told, Withdrawn

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
LONGEST = 200
"""Code points of arguments or a result that are shown."""
UNSAFE = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Characters with which a model, or a tool, could make the terminal do something."""


class Screen:
    """Writes to a terminal, from any thread."""

    def __init__(self, out: TextIO, *, has_colours: bool) -> None:
        self._out = out
        self._has_colours = has_colours
        self._at_line_start = True
        self._channel = "text"
        self._lock = threading.Lock()

    def show(self, told: Told) -> None:
        """What is new of a turn."""
        match told:
            case Piece(channel, text):
                self._say(text, channel=channel)
            case Withdrawn():
                self.note("again", "the answer begins again; what was said of it does not hold")
            case Event(kind="assistant_message", data=data):
                for call in data.get("tool_calls", ()):
                    self.note("tool", f"{call['name']}({short(call['arguments'])})")
            case Event(kind="tool_result", data=data):
                mark = "failed:" if data.get("is_error") else "="
                self.note("tool", f"{data['name']} {mark} {short(data['content'])} ({data.get('duration_ms', 0)} ms)")
            case Event(kind="turn_ended", data=data):
                self._end(data)

    def note(self, about: str, text: str) -> None:
        """A line of its own."""
        with self._lock:
            self._fresh_line()
            self._write(f"[{about}] {text}\n", dim=True)

    def sum_up(self, stats: Stats) -> None:
        """What the conversation has used, if the server says so."""
        total, agent = stats.conversation, stats.usage.get("agent", Usage())
        if not total.calls:
            return
        parts = [f"{total.calls} calls", f"{total.prompt} tokens in, {total.completion} out"]
        parts += [f"${total.cost}"] if total.cost is not None else []
        parts += [f"context {agent.context_share:.0%} full"] if agent.context_share is not None else []
        self.note("so far", "; ".join(parts))

    def asked(self, text: str) -> None:
        """Somebody's question, of a conversation that was there."""
        with self._lock:
            self._fresh_line()
            self._write(f"> {text}\n")

    def _say(self, text: str, *, channel: str) -> None:
        with self._lock:
            if channel != self._channel:
                self._fresh_line()
            self._channel = channel
            self._write(text, dim=channel == "reasoning")

    def _end(self, data: dict[str, Any]) -> None:
        if data.get("error"):
            self.note("failed", data["error"]["message"])
        elif data.get("status") == "cancelled":
            self.note("stopped", "what was said is kept")
        usage = data.get("usage") or {}
        cost = f"${data['cost']}" if data.get("cost") is not None else "no price is known"
        self.note("cost", f"{usage.get('prompt', 0)} tokens in, {usage.get('completion', 0)} out; {cost}")

    def _fresh_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")
        self._channel = "text"

    def _write(self, text: str, *, dim: bool = False) -> None:
        text = text.translate(UNSAFE)
        self._out.write(f"{DIM}{text}{PLAIN}" if dim and self._has_colours else text)
        self._out.flush()
        self._at_line_start = text.endswith("\n") if text else self._at_line_start


def short(text: str) -> str:
    """On one line, and not too long of it."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
