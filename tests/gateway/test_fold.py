"""A turn in OpenAI's words: whatever comes twice, late or not at all, a client gets each word once, or is told that it
has something which does not hold."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from gateway.chunks import HEARTBEAT
from gateway.errors import TurnFailed
from gateway.fold import Telling
from streaming.follow import Followed
from streaming.frames import CaughtUp, Delta, Event, Heartbeat, Reset

TURN = UUID("0b6c6f0e-6a43-4a0e-9d3c-1f6f0d9e2a51")
AT = "2026-11-21T08:29:17.042Z"


def event(seq: int, kind: str, **data: Any) -> Event:
    return Event(seq=seq, cursor=f"{seq}.0", kind=kind, turn=str(TURN), at=AT, data=data)


def delta(text: str, offset: int, *, channel: Any = "text", seq: int = 1) -> Delta:
    end = offset + len(text)
    return Delta(cursor=f"{seq}.{end}", turn=str(TURN), attempt=1, hop=0, offset=offset, channel=channel, text=text)


ASKED = event(1, "user_message", text="Hi")
COMPLETED = event(9, "turn_ended", status="completed", finish_reason="stop")
RESTARTED = event(2, "turn_restarted", attempt=2, hop=0, reason="lost")


def said(seq: int, text: str, *, reasoning: str = "", hop: int = 0, runs: Any = None) -> Event:
    runs = [["text", len(text)]] if runs is None else runs
    return event(seq, "assistant_message", hop=hop, text=text, reasoning=reasoning, runs=runs)


def told(*frames: Followed, telling: Telling | None = None) -> tuple[str, str]:
    """Text and reasoning that a client has who appends."""
    telling = telling or Telling(TURN, model="demo", with_usage=False)
    text = reasoning = ""
    for frame in frames:
        for line in telling.take(frame).decode().split("\n\n"):
            if line.startswith("data: {"):
                piece = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
                text += piece.get("content", "")
                reasoning += piece.get("reasoning_content", "")
    return text, reasoning


@pytest.mark.parametrize(
    "frames",
    [
        (ASKED, delta("One ", 0), delta("two", 4), said(2, "One two"), COMPLETED),
        (ASKED, delta("One ", 0), said(2, "One two"), COMPLETED),
        (ASKED, said(2, "One two"), COMPLETED),
        (ASKED, delta("two", 4), said(2, "One two"), COMPLETED),
        (ASKED, delta("One ", 0), delta("One ", 0), delta("two", 4), said(2, "One two"), COMPLETED),
        (ASKED, CaughtUp(cursor="1.0"), delta("One ", 0), Heartbeat(cursor="1.4", at=AT), said(2, "One two")),
        (ASKED, RESTARTED, delta("One two", 0, seq=2), said(3, "One two"), COMPLETED),
        (ASKED, Reset(cursor="1.0"), delta("One two", 0), said(2, "One two"), COMPLETED),
        (ASKED, event(2, "something_new", told=1), said(3, "One two"), COMPLETED),
    ],
)
def test_each_word_is_told_once(frames: tuple[Followed, ...]) -> None:
    assert told(*frames) == ("One two", "")


def test_channels_are_told_apart_also_in_a_message_that_brings_the_rest() -> None:
    runs = [["reasoning", 3], ["text", 1], ["reasoning", 3], ["text", 1]]

    text, reasoning = told(
        ASKED, delta("Hm.", 0, channel="reasoning"), said(2, "AB", reasoning="Hm.Oh.", runs=runs), COMPLETED
    )

    assert (text, reasoning) == ("AB", "Hm.Oh.")


def test_the_texts_of_all_hops_are_one_answer() -> None:
    second = delta("two", 0, seq=2)

    assert told(ASKED, delta("One ", 0), said(2, "One "), second, said(3, "two", hop=1), COMPLETED)[0] == "One two"


@pytest.mark.parametrize("withdrawal", [RESTARTED, Reset(cursor="1.0"), Reset(cursor="0.0")])
def test_what_was_sent_and_does_not_hold_ends_the_stream_with_a_retryable_error(withdrawal: Followed) -> None:
    """R7."""
    telling = Telling(TURN, model="demo", with_usage=False)
    told(ASKED, delta("One ", 0), telling=telling)

    with pytest.raises(TurnFailed) as failed:
        telling.take(withdrawal)

    assert failed.value.error.code == "answer_restarted"
    assert "again" in failed.value.error.message


def test_a_hop_that_has_ended_is_not_withdrawn_by_a_restart_of_the_next() -> None:
    restarted = event(3, "turn_restarted", attempt=2, hop=1, reason="lost")

    assert told(ASKED, delta("One ", 0), said(2, "One "), restarted, said(4, "two", hop=1))[0] == "One two"


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "failed", "error": {"code": "stalled", "message": "Late."}}, "stalled"),
        ({"status": "failed"}, "internal"),
    ],
)
def test_an_end_without_an_answer_is_an_error(ended: dict[str, Any], code: str) -> None:
    telling = Telling(TURN, model="demo", with_usage=False)

    with pytest.raises(TurnFailed) as failed:
        told(ASKED, event(9, "turn_ended", **ended), telling=telling)

    assert failed.value.error.code == code
    assert not telling.over


def test_a_heartbeat_is_a_comment_also_before_anything_is_known() -> None:
    assert Telling(TURN, model="demo", with_usage=False).take(Heartbeat(cursor="0.0", at=AT)) == HEARTBEAT
