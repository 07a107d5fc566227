"""The law of the log, on a tail alone: whatever happens between two looks, a viewer's fold is a fresh read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from history.committed import Entry
from history.draft import Draft
from streaming.cursor import Cursor, parse
from streaming.tail import Tail
from streaming.view import LARGEST, View
from tests.fold import Folded

AT = datetime(2026, 1, 1, tzinfo=UTC)
CONVERSATION = UUID(int=1)
TURN = UUID(int=2)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
fragment = st.one_of(
    st.tuples(st.just("text"), text),
    st.tuples(st.just("reasoning"), text),
    st.tuples(st.just("tool_arguments"), text),
)
step = st.one_of(
    fragment,
    fragment,
    st.tuples(st.just("end_hop"), st.just("")),
    st.tuples(st.just("system"), st.just("")),
    st.tuples(st.just("look"), st.just("")),
    st.tuples(st.just("look"), st.just("")),
    st.tuples(st.just("reconnect"), st.just("")),
)


class World:
    """A conversation of which the tail knows everything."""

    def __init__(self) -> None:
        self.tail = Tail(uuid4())
        self.tail.learn(0)
        self.seq = 0
        self.hop = 0
        self.open()

    def open(self) -> None:
        draft = Draft(CONVERSATION, turn_id=TURN, attempt=1, hop=self.hop, after_seq=self.seq)
        self.tail.draft, self.tail.live = draft, True

    def event(self, kind: str, data: dict[str, Any]) -> None:
        self.seq += 1
        self.tail.publish([Entry(self.seq, kind, TURN, AT, data)])

    def do(self, what: str, fragment: str) -> None:
        draft = self.tail.draft
        assert draft is not None
        if what == "tool_arguments":
            draft.append_arguments(0, fragment, name="f")
        elif what in ("text", "reasoning"):
            draft.append(what, fragment)  # type: ignore[arg-type]
        elif what == "system":
            self.event("system_update", {})
        else:
            text, reasoning = draft.text_of("text"), draft.text_of("reasoning")
            self.event("assistant_message", {"runs": draft.runs(), "text": text, "reasoning": reasoning})
            self.hop += 1
            self.open()


def look(view: View, tail: Tail) -> list[Any]:
    frames: list[Any] = []
    for entry in tail.after(view.seq):
        frames += view.event(entry)
    if tail.draft is not None and view.follows(tail.draft):
        frames += view.draft(tail.draft)
    return frames


@given(st.lists(step, max_size=40))
def test_a_fold_is_a_fresh_read_wherever_a_viewer_looks_and_reconnects(steps: list[tuple[str, str]]) -> None:
    world, view, folded = World(), View(Cursor()), Folded()

    for what, fragment_text in [*steps, ("look", "")]:
        if what == "look":
            folded.fold(look(view, world.tail))
        elif what == "reconnect":
            ended, view = view.ended, View(parse(folded.reconnected().cursor))
            view.ended = ended
        else:
            world.do(what, fragment_text)

    fresh = Folded().fold(look(View(Cursor()), world.tail))
    assert (folded.events, folded.runs, folded.cursor) == (fresh.events, fresh.runs, fresh.cursor)
    assert folded.resets == 0


@given(st.lists(fragment, min_size=1, max_size=10))
def test_a_viewer_may_begin_at_every_code_point_of_a_draft(fragments: list[tuple[str, str]]) -> None:
    world = World()
    for what, fragment_text in fragments:
        world.do(what, fragment_text)
    draft = world.tail.draft
    assert draft is not None
    whole = "".join(part.text for part in draft.parts if part.channel != "tool_arguments")

    for offset in range(draft.length + 1):
        frames = View(Cursor(0, offset)).draft(draft)

        counted = [frame for frame in frames if frame.channel != "tool_arguments"]
        assert "".join(frame.text for frame in counted) == whole[offset:]
        assert all(frame.text for frame in counted)


def test_text_of_one_channel_that_has_piled_up_is_one_frame() -> None:
    world = World()
    for _ in range(100):
        world.do("text", "ab")

    frames = look(View(Cursor()), world.tail)

    assert [frame.text for frame in frames] == ["ab" * 100]


def test_a_viewer_that_has_much_to_read_gets_no_more_at_a_time_than_about_the_largest_frame() -> None:
    draft = Draft(CONVERSATION, turn_id=TURN, attempt=1, hop=0, after_seq=0)
    for _ in range(1_000):
        draft.append("text", "x" * 99)
        draft.append("reasoning", "y")
    view = View(Cursor())

    looks = [view.draft(draft)]
    while view.lags(draft):
        looks.append(view.draft(draft))

    sizes = [sum(len(frame.text) for frame in frames) for frames in looks]
    assert max(sizes) < LARGEST + 100
    assert Folded().fold(frame for frames in looks for frame in frames).said("text") == "x" * 99_000


def test_a_name_that_comes_after_its_call_is_told_though_frames_have_piled_up() -> None:
    world, view = World(), View(Cursor())
    assert world.tail.draft is not None
    world.tail.draft.append_arguments(0, "", name=None)
    world.tail.draft.append_arguments(0, "", name="weather")
    world.tail.draft.append_arguments(0, '{"city":', name=None)
    world.tail.draft.append_arguments(0, '"Rome"}', name=None)

    frames = view.draft(world.tail.draft)

    assert [frame.name for frame in frames if frame.name] == ["weather"]
    assert "".join(frame.text for frame in frames) == '{"city":"Rome"}'


def test_a_viewer_that_saw_more_than_the_hop_became_is_reset_first() -> None:
    world, view = World(), View(Cursor(0, 7))
    world.event("assistant_message", {"runs": [["text", 5]], "text": "Hello"})

    frames = look(view, world.tail)

    assert [type(frame).__name__ for frame in frames] == ["Reset", "Event"]
    assert frames[0].cursor == "0.0"


def test_the_draft_of_a_hop_that_has_ended_is_not_shown_again() -> None:
    world, view = World(), View(Cursor())
    world.do("text", "stale")
    stale = world.tail.draft
    world.do("end_hop", "")
    look(view, world.tail)

    assert not view.follows(stale)


def test_a_gap_in_what_is_published_sends_viewers_to_the_database() -> None:
    tail = Tail(uuid4())
    tail.learn(3)

    tail.publish([Entry(5, "system_update", uuid4(), AT, {})])

    assert not tail.covers(3)
    assert tail.covers(4)
    assert [entry.seq for entry in tail.after(4)] == [5]
