"""Requests made again: by their id, by the position they go on from, by what they say; and when they are new."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.db.models.functions import Now
from django.test import override_settings

from access.errors import RateLimited
from access.principals import Principal
from history import conversations, stopping
from history.models import Conversation, Turn
from streaming.cursor import Cursor
from streaming.errors import RequestConflict, TurnActive
from streaming.orders import Order
from streaming.repeats import Again, Position, end_of, position_in
from streaming.turns import Started, start_turn

BY_CONTENT = Again(by_content=True)
SHOWN = Cursor(1, 7)


@pytest.fixture
def ada(user: User) -> Principal:
    return Principal(user_id=user.pk)


@pytest.fixture
def bob(other_user: User) -> Principal:
    return Principal(user_id=other_user.pk)


@pytest.fixture
def conversation(user: User) -> Conversation:
    return conversations.create(user.pk)


def ask(who: Principal, where: UUID | None = None, again: Again = Again(), **order: Any) -> Started:  # noqa: B008
    """Ask something; no engine is here, so that the turn stays active until a test ends it."""
    return start_turn(who, where, Order(**{"text": "hi", **order}), again=again)


def shown(turn: Started, *, cursor: Cursor = SHOWN) -> Again:
    """What a client says that saw this turn up to there."""
    return Again(position=Position(turn.turn_id, cursor))


def restart(turn: Started, *, ended: float | None = None) -> None:
    """Have it be a turn that was taken over, and ended so many seconds ago."""
    if ended is not None:
        end(turn)
        Turn.objects.filter(pk=turn.turn_id).update(ended_at=Now() - timedelta(seconds=ended))
    Turn.objects.filter(pk=turn.turn_id).update(attempt=F("attempt") + 2)


def end(turn: Started) -> None:
    assert stopping.stop(turn.turn_id)


# By id


def test_an_id_gets_the_turn_it_got_while_it_runs_and_when_it_has_ended(ada: Principal) -> None:
    first = ask(ada, request_id="r")
    running = ask(ada, request_id="r")
    end(first)
    ended = ask(ada, request_id="r")

    assert (first.fresh, first.cached, first.begin) == (True, False, Cursor())
    assert running == first._replace(fresh=False)
    assert ended == first._replace(fresh=False, ended=True)
    assert ended.cached
    assert Turn.objects.count() == 1


@pytest.mark.parametrize(
    "other", [{"text": "ho"}, {"model": "demo"}, {"system": "Be brief."}, {"no_tools": True}], ids=str
)
def test_an_id_means_one_thing_for_ever(ada: Principal, other: dict[str, Any]) -> None:
    end(ask(ada, request_id="r"))

    with pytest.raises(RequestConflict):
        ask(ada, request_id="r", **other)

    assert Turn.objects.count() == 1


def test_what_a_request_replaces_is_a_part_of_it(ada: Principal, conversation: Conversation) -> None:
    first = ask(ada, conversation.pk)
    end(first)
    again = ask(ada, conversation.pk, request_id="r", text=None, replaces=first.turn_id)

    with pytest.raises(RequestConflict):
        ask(ada, conversation.pk, request_id="r", text=None, replaces=again.turn_id)

    assert ask(ada, conversation.pk, request_id="r", text=None, replaces=first.turn_id).turn_id == again.turn_id


def test_the_id_of_somebody_else_is_a_new_one(ada: Principal, bob: Principal) -> None:
    first = ask(ada, request_id="r")

    second = ask(bob, request_id="r")

    assert second.fresh
    assert second.turn_id != first.turn_id
    assert Turn.objects.filter(pk=second.turn_id, owner_id=bob.user_id).exists()


def test_an_id_belongs_to_its_conversation_which_need_not_be_named_by_who_opened_it(ada: Principal) -> None:
    opened = ask(ada, request_id="r")
    end(opened)
    later = ask(ada, opened.conversation_id, request_id="s")

    assert ask(ada, opened.conversation_id, request_id="r").turn_id == opened.turn_id
    assert ask(ada, None, request_id="r").turn_id == opened.turn_id
    assert ask(ada, opened.conversation_id, request_id="s").turn_id == later.turn_id
    for request_id, where in (("s", None), ("s", uuid4()), ("r", uuid4())):
        with pytest.raises(RequestConflict):
            ask(ada, where, request_id=request_id)


def test_a_request_that_has_its_turn_is_not_refused_for_anything(ada: Principal) -> None:
    """§7: the lookup comes first."""
    first = ask(ada, request_id="r")

    with override_settings(CHAT={"MAX_TURNS_PER_USER": 1, "PROFILES": [{"name": "mine"}], "DEFAULT_PROFILE": "mine"}):
        with pytest.raises(RateLimited):
            ask(ada, request_id="s")
        again = ask(ada, first.conversation_id, request_id="r")

    assert again.turn_id == first.turn_id


def test_an_id_may_come_with_a_position_in_its_turn(ada: Principal, conversation: Conversation) -> None:
    end(ask(ada, conversation.pk))
    turn = ask(ada, conversation.pk, request_id="r")
    begin = end_of(Turn.objects.exclude(pk=turn.turn_id).get())

    resumed = ask(ada, conversation.pk, request_id="r", again=shown(turn, cursor=Cursor(9, 4)))
    early = ask(ada, conversation.pk, request_id="r", again=shown(turn, cursor=Cursor(1, 4)))
    elsewhere = ask(ada, conversation.pk, request_id="r", again=Again(Position(uuid4(), SHOWN)))

    assert turn.begin == resumed.begin == begin == Cursor(2)
    assert (resumed.resume, early.resume, elsewhere.resume) == (Cursor(9, 4), begin, None)


# By position


@pytest.mark.parametrize("ended", [False, True])
def test_a_position_finds_its_turn_however_old(ada: Principal, ended: bool) -> None:
    turn = ask(ada)
    if ended:
        end(turn)

    again = ask(ada, again=shown(turn))

    assert again == turn._replace(fresh=False, ended=ended, resume=SHOWN)


def test_a_position_in_the_turn_of_somebody_else_says_nothing(ada: Principal, bob: Principal) -> None:
    theirs = ask(bob)

    mine = ask(ada, again=shown(theirs))

    assert mine.fresh
    assert mine.resume is None


def test_a_position_goes_with_the_same_body_and_conversation(ada: Principal) -> None:
    turn = ask(ada)

    assert ask(ada, turn.conversation_id, again=shown(turn)).turn_id == turn.turn_id
    assert ask(ada, again=shown(turn), text="ho").fresh
    with pytest.raises(TurnActive):
        ask(ada, turn.conversation_id, again=shown(turn), text="ho")


@pytest.mark.parametrize("text", ["", "1.0", f"{UUID(int=1)}:x", "x:1.0", f"{UUID(int=1)}:1.0:2.0"])
def test_what_is_no_position_is_none(text: str) -> None:
    assert position_in(text) is None


def test_a_position_is_a_turn_and_a_cursor() -> None:
    position = Position(UUID(int=1), Cursor(3, 14))

    assert str(position) == f"{UUID(int=1)}:3.14"
    assert position_in(str(position)) == position


# By content


def test_what_is_asked_again_is_joined_while_it_is_being_answered(ada: Principal) -> None:
    turn = ask(ada)
    running = ask(ada, again=BY_CONTENT)
    end(turn)
    afterwards = ask(ada, again=BY_CONTENT)

    assert running == turn._replace(fresh=False)
    assert afterwards.fresh
    assert afterwards.turn_id != turn.turn_id


def test_what_was_restarted_is_found_for_a_minute_after_its_end(ada: Principal) -> None:
    turn = ask(ada)
    restart(turn, ended=50)

    soon = ask(ada, again=BY_CONTENT)
    Turn.objects.update(ended_at=Now() - timedelta(seconds=61))
    late = ask(ada, again=BY_CONTENT)

    assert soon == turn._replace(fresh=False, ended=True)
    assert late.fresh


def test_who_does_not_say_that_it_may_be_a_repetition_gets_a_turn_of_their_own(ada: Principal) -> None:
    first, second = ask(ada), ask(ada)

    assert second.fresh
    assert first.conversation_id != second.conversation_id
    with pytest.raises(TurnActive):
        ask(ada, first.conversation_id)


def test_the_same_words_of_somebody_else_are_another_request(ada: Principal, bob: Principal) -> None:
    ask(bob)

    assert ask(ada, again=BY_CONTENT).fresh


def test_other_words_are_another_request(ada: Principal) -> None:
    ask(ada)

    assert ask(ada, text="ho", again=BY_CONTENT).fresh
    assert ask(ada, no_tools=True, again=BY_CONTENT).fresh


def test_the_same_words_in_two_conversations_are_two_requests(ada: Principal) -> None:
    """Two tabs say "hi" where they are, and both lose their connection."""
    end(ask(ada, text="Good day."))
    opened = ask(ada)
    other = conversations.create(ada.user_id).pk
    end(ask(ada, other, text="Good day."))
    went_on = ask(ada, other)

    assert ask(ada, opened.conversation_id, again=BY_CONTENT).turn_id == opened.turn_id
    assert ask(ada, None, again=BY_CONTENT).turn_id == opened.turn_id
    assert ask(ada, other, again=BY_CONTENT).turn_id == went_on.turn_id


def test_a_position_says_more_than_words(ada: Principal) -> None:
    older, newer = ask(ada), ask(ada)
    Turn.objects.filter(pk=older.turn_id).update(created_at=Now() - timedelta(seconds=1))

    assert ask(ada, again=BY_CONTENT).turn_id == newer.turn_id
    assert ask(ada, again=shown(older)._replace(by_content=True)).turn_id == older.turn_id
