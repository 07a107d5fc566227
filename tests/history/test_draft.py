"""The draft of a hop: whatever arrives in whatever order is found again at every offset, and stored once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from history.draft import Draft, merge_runs
from history.events import Channel

Fragment: TypeAlias = tuple[Channel, str] | tuple[int, str]

CHANNELS: tuple[Channel, ...] = ("text", "reasoning")

channels = st.sampled_from(CHANNELS)
fragments = st.text(min_size=1, max_size=5)
said = st.tuples(channels, fragments)
asked = st.tuples(st.integers(min_value=0, max_value=2), st.text(max_size=3))
"""A fragment of a call's arguments: these may be empty, as when a call begins."""


def new_draft() -> Draft:
    return Draft(UUID(int=1), turn_id=UUID(int=2), attempt=1, hop=0, after_seq=1)


def grow(draft: Draft, fragment: Fragment) -> None:
    where, text = fragment
    if isinstance(where, int):
        draft.append_arguments(where, text, name="clock")
    else:
        draft.append(where, text)


def channel_of_each_character(runs: tuple[tuple[Channel, int], ...]) -> list[Channel]:
    return [channel for channel, length in runs for _ in range(length)]


@dataclass
class Database:
    """What a writer has of a draft: the text and the channel of each of its characters."""

    text: str = ""
    channels: list[Channel] = field(default_factory=list)


@given(st.lists(said | asked))
def test_parts_keep_everything_in_order_of_arrival(fragments: list[Fragment]) -> None:
    draft = new_draft()

    for fragment in fragments:
        grow(draft, fragment)

    counted = [text for where, text in fragments if not isinstance(where, int)]
    assert [part.text for part in draft.parts] == [text for _, text in fragments]
    assert [part.channel for part in draft.parts] == [
        "tool_arguments" if isinstance(where, int) else where for where, _ in fragments
    ]
    assert draft.length == len("".join(counted))
    assert [part.start for part in draft.parts] == [
        sum(len(text) for where, text in fragments[:number] if not isinstance(where, int))
        for number in range(len(fragments))
    ]


@given(st.lists(said | asked))
def test_a_draft_knows_its_runs_and_the_text_of_each_channel(fragments: list[Fragment]) -> None:
    draft = new_draft()
    expected = Database()

    for fragment in fragments:
        grow(draft, fragment)
        expect(expected, fragment)

    assert channel_of_each_character(draft.runs()) == expected.channels
    for channel in CHANNELS:
        of_it = [each for each, of in zip(expected.text, expected.channels, strict=True) if of == channel]
        assert draft.text_of(channel) == "".join(of_it)


@given(st.lists(asked))
def test_each_call_counts_its_own_arguments(fragments: list[tuple[int, str]]) -> None:
    draft = new_draft()

    for fragment in fragments:
        grow(draft, fragment)

    for call in range(3):
        parts = [part for part in draft.parts if part.call == call]
        whole = "".join(text for index, text in fragments if index == call)
        assert "".join(part.text for part in parts) == whole
        assert all(whole[part.within :].startswith(part.text) for part in parts)
    assert draft.length == 0


@given(st.lists(said | asked))
def test_a_viewer_at_any_offset_lacks_exactly_what_comes_from_part_at_on(
    fragments: list[Fragment],
) -> None:
    draft = new_draft()
    for fragment in fragments:
        grow(draft, fragment)
    text = "".join(text for where, text in fragments if not isinstance(where, int))

    for offset in range(draft.length + 1):
        first = draft.part_at(offset)
        lacking = [part for part in draft.parts[first:] if part.channel != "tool_arguments"]
        start = lacking[0].start if lacking else draft.length
        assert "".join(part.text for part in lacking)[offset - start :] == text[offset:]
        assert start <= offset, "a character is skipped"
        assert not lacking or start + len(lacking[0].text) > offset, "a part that the viewer has whole comes again"


def test_arguments_that_arrived_at_just_this_offset_are_lacking() -> None:
    draft = new_draft()
    draft.append("text", "ab")
    draft.append_arguments(0, "{", name="clock")
    draft.append_arguments(1, "[", name="clock")
    draft.append("text", "cd")
    draft.append_arguments(0, "}", name="clock")

    found = [draft.part_at(offset) for offset in range(5)]

    assert found == [0, 0, 1, 3, 4]


@given(st.data())
def test_storing_loses_and_doubles_nothing_whatever_the_interleaving(data: st.DataObject) -> None:
    """A2.7, A2.15: the writer takes a stretch, text goes on arriving, and the stretch is stored, or tried again."""
    draft, database = new_draft(), Database()
    expected = Database()

    for what in data.draw(st.lists(st.sampled_from(["arrive", "store", "fail"]), max_size=20)):
        if what == "arrive":
            fragment = data.draw(said | asked)
            grow(draft, fragment)
            expect(expected, fragment)
            continue
        taken = draft.unstored()
        for fragment in data.draw(st.lists(said | asked, max_size=3)):  # meanwhile
            grow(draft, fragment)
            expect(expected, fragment)
        if taken is None or what == "fail":
            continue
        stretch, parts = taken
        assert stretch.text, "nothing is stored as an empty row (A2.5)"
        assert stretch.start == len(database.text)
        assert sum(length for _, length in stretch.runs) == len(stretch.text)
        database.text += stretch.text
        database.channels += channel_of_each_character(stretch.runs)
        draft.mark_stored(parts=parts, length=stretch.start + len(stretch.text))
        assert draft.stored == len(database.text)

    rest = draft.unstored()
    if rest is not None:
        database.text += rest[0].text
        database.channels += channel_of_each_character(rest[0].runs)
    assert database == expected


def expect(database: Database, fragment: Fragment) -> None:
    where, text = fragment
    if not isinstance(where, int):
        database.text += text
        database.channels += [where] * len(text)


def test_arguments_alone_are_nothing_to_store() -> None:
    """A2.5: no empty rows."""
    draft = new_draft()

    draft.append_arguments(0, "{}", name="clock")

    assert draft.unstored() is None


def test_an_empty_fragment_is_nothing_to_store() -> None:
    """A2.5: no empty rows."""
    draft = new_draft()

    draft.append("text", "")

    assert draft.unstored() is None


@given(st.lists(st.tuples(channels, st.integers(min_value=0, max_value=4))))
def test_merged_runs_say_the_same_of_every_character_in_as_few_runs_as_can_be(runs: list[tuple[Channel, int]]) -> None:
    merged = merge_runs(runs)

    each = channel_of_each_character(tuple(runs))
    assert channel_of_each_character(merged) == each
    assert [channel for channel, _ in merged] == [channel for channel, _ in groupby(each)]
    assert all(length > 0 for _, length in merged)
