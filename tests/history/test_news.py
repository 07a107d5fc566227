"""What is read of conversations whose turns run elsewhere, while they run: what it feeds equals a fresh read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from history import batches, compaction, log, replay, status, takeover
from history.compaction import Place
from history.draft import Draft
from history.events import DRAFT_ENDING, TurnEnded
from history.models import Conversation, Turn
from history.news import MOST, Known, News, news
from streaming.tail import Tail
from tests.history.stage import answered, claimed, interrupted, new_conversation, new_turn, running, said, store

QUERIES = 3
NOTHING = Known(1, None)


class Elsewhere:
    """A process that writes to a conversation: turns with text, tools and ends, and losses of the process itself."""

    def __init__(self, conversation_id: UUID) -> None:
        self.conversation_id = conversation_id
        self.place: Place | None = None
        self.draft: Draft | None = None
        self.hop = 0
        self.said: dict[tuple[UUID, int, int], Draft] = {}
        """All that was said, also if it was lost or not stored, by turn, attempt and hop."""

    def step(self, number: int | None) -> None:
        """One of the things that may happen now, if any."""
        if number is None:
            return
        able = self._able()
        able[number % len(able)]()

    def _able(self) -> Sequence[Callable[[], None]]:
        if self.place is None:
            return [self.begin]
        if self.draft is None:
            return [self.answer, self.answer, self.lose, self.end]
        return [self.store, self.store, self.say, self.call, self.lose, self.end]

    def begin(self) -> None:
        self.place = claimed(new_turn(Conversation.objects.get(pk=self.conversation_id)), lease=-1.0)
        self.hop = 0
        self._open()

    def _open(self) -> None:
        assert self.place is not None
        self.draft = Draft(
            self.conversation_id,
            turn_id=self.place.turn_id,
            attempt=self.place.attempt,
            hop=self.hop,
            after_seq=log.position(self.conversation_id),
        )
        self.said[self.place.turn_id, self.place.attempt, self.hop] = self.draft

    def say(self) -> None:
        assert self.draft is not None
        self.draft.append("text", f"{self.draft.attempt}.{self.hop}.{self.draft.length} ")

    def store(self) -> None:
        self.say()
        assert self.draft is not None
        found = self.draft.unstored()
        assert found is not None
        stretch, parts = found
        batches.insert([(self.draft, stretch)])
        self.draft.mark_stored(parts=parts, length=self.draft.length)

    def call(self) -> None:
        assert self.place is not None
        assert self.draft is not None
        compaction.end_hop(self.place, said(self.draft.text_of("text"), hop=self.hop, calls=1))
        self.draft = None

    def answer(self) -> None:
        assert self.place is not None
        compaction.add_result(self.place, answered("done", hop=self.hop))
        self.hop += 1
        self._open()

    def lose(self) -> None:
        """The process is gone, and another goes on."""
        assert self.place is not None
        (turn,) = status.abandoned(status.LAPSED, among=[self.place.turn_id])
        attempt = takeover.take_over(turn, engine=uuid4(), lease=-1.0)
        self.place = Place(self.conversation_id, self.place.turn_id, attempt)
        if self.draft is not None:
            self._open()

    def end(self) -> None:
        assert self.place is not None
        text = self.draft.text_of("text") if self.draft is not None else ""
        message = said(text, hop=self.hop) if text else None
        compaction.end_turn(self.place, message=message, ended=TurnEnded(status="completed"))
        self.place = self.draft = None


@contextmanager
def between(*steps: Callable[[], Any]) -> Iterator[None]:
    """Do each of these just before the next statement of the block."""
    waiting = list(steps)
    busy = False

    def watch(execute: Callable[..., Any], *statement: Any) -> Any:
        nonlocal busy
        if waiting and not busy:
            busy = True
            waiting.pop(0)()
            busy = False
        return execute(*statement)

    with connection.execute_wrapper(watch):
        yield


def look(tail: Tail) -> bool:
    """As the watch does; True if there is more."""
    known = Known(tail.last if tail.base is not None else None, tail.draft)
    fresh = news({tail.conversation_id: known})[tail.conversation_id]
    return tail.take(fresh)


def assert_nothing_wrong_is_shown(tail: Tail, elsewhere: Elsewhere) -> None:
    """The draft is the beginning of what was said, is shown after the events before it, and is not over by those that
    are here."""
    draft = tail.draft
    if draft is None:
        return
    whole = elsewhere.said[draft.turn_id, draft.attempt, draft.hop]
    assert whole.text_of("text").startswith(draft.text_of("text"))
    assert tail.last >= draft.after_seq >= whole.after_seq
    entries = log.read(tail.conversation_id, after=whole.after_seq).entries
    assert [entry for entry in entries if entry.seq <= tail.last and entry.kind in DRAFT_ENDING] == []


step = st.none() | st.integers(0, 11)
"""One of the things that may happen, or nothing."""


@pytest.mark.django_db
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=st.lists(st.tuples(step, *[step] * QUERIES), min_size=4, max_size=8))
def test_wherever_a_look_is_interrupted_nothing_wrong_is_shown_and_in_the_end_all_of_it(
    user: User, looks: list[tuple[int | None, ...]]
) -> None:
    """A2.18: batches first, events second."""
    conversation = new_conversation(user)
    elsewhere, tail = Elsewhere(conversation.pk), Tail(conversation.pk)
    look(tail)
    elsewhere.step(0)

    for before, *gaps in looks:
        elsewhere.step(before)
        with between(*(partial(elsewhere.step, number) for number in gaps)):
            look(tail)
        assert_nothing_wrong_is_shown(tail, elsewhere)
    while look(tail):
        pass

    page, stored = replay.read(conversation.pk, after=0)
    assert tail.base == 0
    assert tuple(tail.entries) == page.entries
    assert shown(tail.draft) == shown(stored)


@pytest.mark.django_db
@pytest.mark.parametrize("moment", range(QUERIES + 1))
@pytest.mark.parametrize("seen", [False, True], ids=["new to us", "known to us"])
@pytest.mark.parametrize(
    "happens",
    ["store", "call", "call answer store", "lose", "lose store", "call lose", "end", "end begin store"],
)
def test_whatever_happens_between_two_queries_nothing_wrong_is_shown(
    user: User, happens: str, seen: bool, moment: int
) -> None:
    """A2.18, and R7: neither text before its events, nor text that was withdrawn."""
    conversation = new_conversation(user)
    elsewhere, tail = Elsewhere(conversation.pk), Tail(conversation.pk)
    elsewhere.begin()
    look(tail)
    elsewhere.store()
    if seen:
        look(tail)
        elsewhere.store()

    def happen() -> None:
        for name in happens.split():
            getattr(elsewhere, name)()

    with between(*[lambda: None] * moment, happen):
        look(tail)

    assert_nothing_wrong_is_shown(tail, elsewhere)


def shown(draft: Draft | None) -> Any:
    return draft and (draft.turn_id, draft.attempt, draft.hop, draft.text_of("text"))


@pytest.mark.django_db
def test_only_what_is_lacking_is_read(user: User) -> None:
    place = running(user)
    store(place, [("text", "one ")], [("text", "two ")], [("text", "three")])
    draft = Draft(place.conversation_id, turn_id=place.turn_id, attempt=1, hop=0, after_seq=1)
    draft.append("text", "one ")

    found = news({place.conversation_id: Known(1, draft)})[place.conversation_id]

    assert found.entries == ()
    assert [batch.text for batch in found.batches] == ["two ", "three"]
    assert found.active


@pytest.mark.django_db
def test_many_conversations_cost_as_many_queries_as_one(user: User) -> None:
    places = [running(user) for _ in range(12)]
    for n, place in enumerate(places):
        store(place, [("text", f"{n}")])

    with CaptureQueriesContext(connection) as one:
        news({places[0].conversation_id: NOTHING})
    with CaptureQueriesContext(connection) as many:
        found = news(dict.fromkeys((place.conversation_id for place in places), NOTHING))

    assert [found[place.conversation_id].batches[0].text for place in places] == [f"{n}" for n in range(12)]
    assert len(many) == len(one) == QUERIES


@pytest.mark.django_db
def test_of_who_is_far_behind_only_the_position_is_told(user: User) -> None:
    near, far, never = running(user), running(user), running(user)
    for place in (near, far, never):
        store(place, [("text", "a")])
    known = {near.conversation_id: Known(1, None), far.conversation_id: Known(-MOST, None)}

    found = news({**known, never.conversation_id: Known(None, None)})

    assert found[near.conversation_id].entries == ()
    assert found[far.conversation_id] == News(1, True, None, ())
    assert found[never.conversation_id] == News(1, True, None, ())


@pytest.mark.django_db
def test_a_conversation_that_is_gone_is_missing(user: User) -> None:
    place = running(user)

    assert list(news(dict.fromkeys([place.conversation_id, uuid4()], NOTHING))) == [place.conversation_id]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(QUERIES + 1))
def test_a_turn_that_begins_while_it_is_read_is_seen_to_be_in_progress_or_not_at_all(user: User, moment: int) -> None:
    """Or nobody would look at it again."""
    conversation = new_conversation(user)
    read = partial(news, {conversation.pk: Known(0, None)})

    result, _ = interrupted(read, by=partial(new_turn, conversation), before=moment)

    assert isinstance(result, dict)
    assert result[conversation.pk].active is bool(result[conversation.pk].entries)


@pytest.mark.django_db
def test_a_conversation_in_which_nothing_runs_any_more_is_quiet(user: User) -> None:
    place = running(user)
    compaction.end_turn(place, message=said("a"), ended=TurnEnded(status="completed"))

    found = news({place.conversation_id: NOTHING})[place.conversation_id]

    assert [entry.kind for entry in found.entries or ()] == ["assistant_message", "turn_ended"]
    assert not found.active
    assert not Turn.objects.filter(pk=place.turn_id, status="running").exists()
