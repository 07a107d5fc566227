"""The fold: wherever a stream is cut, and whatever it brings again, the same log comes out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verbatim_client.played import ENDING, Loss, Moment, Play, Runs, delta, merged, message, plays
from verbatim_client.errors import BadFrame, ConversationClosed
from verbatim_client.following import Follower
from verbatim_client.frames import Delta, Event, Frame, Reset, parse
from verbatim_client.log import Log, Piece, clipped, runs_of
from verbatim_client.telling import Telling, Withdrawn


class Reader:
    """A client that is cut off: it takes some of the frames that are sent to it, and comes back later."""

    def __init__(self) -> None:
        self.log = Log()
        self.telling = Telling()
        self.told: Runs = []
        self.hop = 0
        """Where in `told` the reply in progress begins."""

    def take(self, frame: dict[str, Any]) -> None:
        fresh = self.log.add(parse(json.dumps(frame)))
        for told in self.telling.take(fresh) if fresh is not None else ():
            match told:
                case Piece(channel, text):
                    self.told.append((channel, text))
                case Withdrawn():
                    del self.told[self.hop :]
                case Event() if told.kind in ENDING:
                    self.hop = len(self.told)


def runs(log: Log) -> Runs:
    return merged(log.draft.pieces) if log.draft is not None else []


def performed(moments: list[Moment]) -> Play:
    """The play at its end."""
    play = Play()
    for moment in moments:
        list(play.go_on(moment, seen=(0, 0)))
    return play


def visits(moments: list[Moment], cuts: Iterator[tuple[int, int]], reader: Reader) -> None:
    """Play it to a reader who is there now and then, gets some frames of each visit, and the rest last."""
    play, at = Play(), 0
    while at < len(moments):
        away, frames = next(cuts)
        for moment in moments[at : at + away]:
            list(play.go_on(moment, seen=(0, 0)))
        at = min(at + away, len(moments))
        reader.log.reconnected()
        sent = list(play.replay(reader.log.cursor))
        while at < len(moments) and len(sent) < frames:
            sent += play.go_on(moments[at], seen=(len(play.events), play.length))
            at += 1
        for frame in sent[:frames]:
            reader.take(frame)
    for frame in play.replay(reader.log.cursor):
        reader.take(frame)


cuts = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=6).map(
    lambda some: iter([*some, *[(1, 1)] * 200])
)


@given(plays(), cuts)
def test_wherever_the_stream_is_cut_the_log_is_that_of_the_server_and_every_word_is_told_once(
    moments: list[Moment], cuts: Iterator[tuple[int, int]]
) -> None:
    reader = Reader()

    visits(moments, cuts, reader)

    end = performed(moments)
    assert [{"kind": event.kind, "data": event.data} for event in reader.log.events] == end.events
    assert runs(reader.log) == merged(end.draft)
    assert reader.log.is_caught_up
    stored = [run for event in end.events if event["kind"] == "assistant_message" for run in runs_of(event["data"])]
    assert merged(reader.told) == merged([*stored, *end.draft])


@given(plays())
async def test_a_follower_who_takes_nothing_until_the_end_gets_the_same_in_fewer_frames(moments: list[Moment]) -> None:
    play, follower, log = Play(), Follower((), turn=None), Log()
    sent = [frame for moment in moments for frame in play.go_on(moment, seen=(len(play.events), play.length))]
    for frame in sent:
        follower.tell(parse(json.dumps(frame)))
    follower.end(ConversationClosed())

    got = [frame async for frame in until_closed(follower)]
    for fresh in got:
        log.add(fresh)

    assert len(got) <= len(sent)
    assert [event.data for event in log.events] == [event["data"] for event in play.events]
    assert runs(log) == merged(play.draft)


async def test_arguments_that_come_again_are_not_joined_to_those_that_were_lost() -> None:
    follower = Follower((), turn=None)
    for offset, said in ((0, '{"a'), (3, '":'), (0, '{"a":')):
        follower.tell(text(offset, said, channel="tool_arguments", index=0))

    first, again = await anext(follower), await anext(follower)

    assert isinstance(first, Delta)
    assert isinstance(again, Delta)
    assert (first.text, again.offset, again.text) == ('{"a":', 0, '{"a":')


async def until_closed(follower: Follower) -> AsyncIterator[Frame]:
    with suppress(ConversationClosed):
        async for frame in follower:
            yield frame


def text(offset: int, said: str, **fields: Any) -> Frame:
    return parse(json.dumps({**delta(0, offset, channel="text", text=said), **fields}))


def test_what_is_known_already_is_not_taken_twice() -> None:
    log = Log()
    log.add(text(0, "Hel"))

    again = log.add(text(0, "Hel"))
    partly = log.add(text(1, "ello"))

    assert again is None
    assert isinstance(partly, Delta)
    assert (partly.offset, partly.text, log.cursor) == (3, "lo", "0.5")
    assert runs(log) == [("text", "Hello")]


def test_what_does_not_follow_is_refused_and_leaves_the_cursor_where_it_was() -> None:
    log = Log()
    log.add(text(0, "Hel"))
    event = {"type": "event", "seq": 2, "cursor": "2.0", "kind": "x", "turn": "t", "at": "", "data": {}}

    for wrong in (text(4, "o"), parse(json.dumps(event))):
        with pytest.raises(BadFrame):
            log.add(wrong)

    assert (log.cursor, runs(log)) == ("0.3", [("text", "Hel")])


def test_the_cursor_of_accepted_is_not_ours() -> None:
    log = Log(cursor="3.0")

    log.add(parse('{"type": "accepted", "request_id": "r", "turn": "t", "cursor": "9.0"}'))

    assert log.cursor == "3.0"


def test_unfinished_arguments_are_dropped_with_the_connection_and_come_again_from_0() -> None:
    def arguments(offset: int, said: str) -> Frame:
        return text(offset, said, channel="tool_arguments", index=1, name="calculator", cursor="1.2")

    log = Log(cursor="1.2")
    log.add(arguments(0, '{"a'))
    log.add(arguments(3, '": 1'))
    assert log.draft is not None
    assert (log.draft.calls[1].name, log.draft.calls[1].arguments) == ("calculator", '{"a": 1')

    log.reconnected()
    late = log.add(arguments(7, "}"))

    assert late is None
    log.add(arguments(0, '{"a": 1}'))
    assert log.draft.calls[1].arguments == '{"a": 1}'
    assert (log.draft.length, log.cursor) == (0, "1.2")


def test_a_reset_cuts_the_draft_to_its_offset() -> None:
    log = Log()
    log.add(text(0, "Grüße 😀!"))

    log.add(Reset(cursor="0.7"))

    assert runs(log) == [("text", "Grüße 😀")]
    assert log.cursor == "0.7"


def test_a_turn_is_active_from_its_message_to_its_end() -> None:
    def event(seq: int, kind: str, turn: str | None) -> Frame:
        return parse(
            json.dumps({"type": "event", "seq": seq, "cursor": "", "kind": kind, "turn": turn, "at": "", "data": {}})
        )

    log = Log()
    active = [log.active_turn]
    told = [("user_message", "a"), ("stats", None), ("turn_ended", "a"), ("stats", None)]
    for seq, (kind, turn) in enumerate(told, start=1):
        log.add(event(seq, kind, turn))
        active.append(log.active_turn)

    assert active == [None, "a", "a", None, None]


def test_a_copy_does_not_change_with_the_log() -> None:
    log = Log()
    log.add(text(0, "a"))
    copy = log.copy()

    log.add(text(1, "b"))

    assert (runs(copy), runs(log)) == ([("text", "a")], [("text", "ab")])


@given(st.lists(st.tuples(st.sampled_from(["text", "reasoning"]), st.text("aé😀", max_size=4))), st.integers(0, 20))
def test_a_message_is_the_draft_that_it_was(draft: Runs, offset: int) -> None:
    pieces = runs_of(message(draft).data)

    assert merged(pieces) == merged(draft)
    both = [*clipped(pieces, end=offset), *clipped(pieces, start=offset)]
    assert merged(both) == merged(draft)


def test_the_play_has_losses() -> None:
    """Else the laws above would say nothing of them."""
    seen: list[Loss] = []

    @given(plays())
    def look(moments: list[Moment]) -> None:
        seen.extend(moment for moment in moments if isinstance(moment, Loss))

    look()
    assert seen
