"""Ctrl-C at every moment of a chat in a terminal, where a pseudo-terminal would have to be lucky."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from verbatim_client.frames import Event
from verbatim_client.log import Log, Piece
from verbatim_client.screen import Screen
from verbatim_client.stats import Stats, Totals
from verbatim_client.sync import RemoteConversation
from verbatim_client.telling import Told
from verbatim_client.terminal import Chat

ENDED = Event(
    seq=3, cursor="3", kind="turn_ended", turn="t", at="2026-01-01T00:00:00Z", data={"status": "completed", "cost": "1"}
)


class Conversation:
    """One in which the person presses Ctrl-C at given moments."""

    def __init__(self, *, pressed: str) -> None:
        self.log = Log()
        self.stats = Stats(conversation=Totals(calls=1))
        self.stopped: list[str] = []
        self._is_stopped = threading.Event()
        self._pressed = pressed

    def on(self, *_: object) -> None:
        """No news."""

    def send(self, text: str, *, model: str | None) -> str:
        self._at("sending")
        return "t"

    def stop(self, turn: str) -> None:
        self.stopped.append(turn)
        self._is_stopped.set()

    def told(self, turn: str) -> Iterator[Told]:
        yield Piece("text", "Once upon")
        self._at("answering")
        if "answering" in self._pressed:
            assert self._is_stopped.wait(60)
        self._at("stopping")
        yield ENDED
        self._at("ended")

    def _at(self, moment: str) -> None:
        if moment in self._pressed:
            press()


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Shown(io.StringIO):
    """A terminal at which Ctrl-C is pressed when certain words are seen."""

    def __init__(self, *, pressed_at: str) -> None:
        super().__init__()
        self._pressed_at = pressed_at

    def write(self, text: str) -> int:
        if self._pressed_at and self._pressed_at in text:
            press()
        return super().write(text)


def chat(conversation: Conversation, *, asks: Callable[[], str], pressed_at: str = "") -> str:
    """All that it showed."""
    screen = Shown(pressed_at=pressed_at)
    Chat(cast(RemoteConversation, conversation), screen=Screen(screen, has_colours=False), ask=asks).run()
    return screen.getvalue()


def asking(*lines: str) -> Callable[[], str]:
    """These lines, then the end."""
    left = iter(lines)

    def ask() -> str:
        for line in left:
            return line
        raise EOFError

    return ask


@pytest.mark.parametrize("line", ["[cost]", "", "[so far]"], ids=["its cost", "between them", "the last line"])
def test_ctrl_c_at_the_end_of_an_answer_does_not_leave(line: str) -> None:
    conversation = Conversation(pressed="" if line else "ended")

    shown = chat(conversation, asks=asking("Hi"), pressed_at=line)

    assert shown.endswith("[Ctrl-C] nothing to stop; press it again to leave\n")
    assert conversation.stopped == []


def test_ctrl_c_stops_an_answer_and_at_its_end_there_is_nothing_to_stop() -> None:
    conversation = Conversation(pressed="answering ended")

    shown = chat(conversation, asks=asking("Hi"))

    assert conversation.stopped == ["t"]
    assert shown.endswith("[Ctrl-C] nothing to stop; press it again to leave\n")


@pytest.mark.parametrize("moments", ["sending", "answering stopping"])
def test_ctrl_c_leaves_what_has_not_ended(moments: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        chat(Conversation(pressed=moments), asks=asking("Hi"))

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
