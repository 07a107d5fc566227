"""What the log tells of model calls: snapshots of a constant size, and a record of each."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from history import calls, compaction, context, takeover
from history.calls import Asked, Call, counted, filename
from history.compaction import BrokenOff, Place
from history.conf import ChatSettings
from history.events import Kind, Stats, TurnEnded, TurnError
from history.models import Event, Status, Turn
from history.releases import Releases
from history.status import Abandoned
from llm.types import Usage
from tests.history.stage import answered, claimed, engine_of, entries, kinds, new_turn, place_of, running, said, store

TURN = UUID(int=1)
LATER = datetime(2026, 11, 21, 8, 0, 0, 123_000, tzinfo=UTC)


def call(**fields: Any) -> Call:
    """A call of ten tokens and four for a cent, unless it is said otherwise."""
    told = {
        "outcome": "completed",
        "usage": Usage(prompt=10, completion=4, cached=2, reasoning=1),
        "cost": Decimal("0.01"),
    }
    return Call(**{"model": "m", "context_window": 100, **told, **fields})


def after(*made: tuple[UUID | None, Call]) -> Stats:
    """The snapshot after these calls."""
    stats: Stats | None = None
    for turn_id, each in made:
        stats = counted(stats, each, turn_id=turn_id)
    assert stats is not None
    return stats


def test_a_snapshot_counts_all_calls_by_usage_id_by_turn_and_together() -> None:
    stats = after((UUID(int=9), call()), (TURN, call()), (TURN, call(model="other")), (None, call(usage_id="title")))

    assert {role: (each.calls, each.model) for role, each in stats.usage.items()} == {
        "agent": (3, "other"),
        "title": (1, "m"),
    }
    assert (stats.turn_id, stats.turn.calls, stats.turn.prompt, stats.turn.cost) == (str(TURN), 2, 20, "0.02")
    whole = stats.conversation
    assert (whole.calls, whole.prompt, whole.completion, whole.cached, whole.reasoning) == (4, 40, 16, 8, 4)
    assert (whole.cost, stats.usage_id) == ("0.04", "title")


def test_of_the_last_call_a_snapshot_says_how_fast_it_was_and_how_full_the_context_is() -> None:
    stats = after((TURN, call(latency_ms=2_500, first_token_ms=500)))

    role = stats.usage["agent"]
    assert (role.latency_ms, role.first_token_ms, role.tokens_per_second) == (2_500, 500, 2.0)
    assert (role.context_used, role.context_window) == (14, 100)


def test_a_call_of_which_nothing_is_known_changes_no_sum_but_the_count() -> None:
    refused = call(outcome="failed", usage=Usage(), cost=None, is_estimated=True)

    stats = after((TURN, call()), (TURN, refused))

    assert (stats.turn.calls, stats.turn.prompt, stats.turn.cost, stats.turn.estimated) == (2, 10, "0.01", 1)
    assert (stats.usage["agent"].context_used, stats.usage["agent"].tokens_per_second) == (14, None)
    assert after((TURN, refused)).turn.cost is None


@pytest.mark.parametrize(
    ("model", "beginning"),
    [
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-latest"),
        ("anthropic/claude-x", "anthropic__claude-x"),
        ("../../etc/passwd", "..__..__etc__passwd"),
        ("llama3:8b\\\x00", "llama3_8b__"),
    ],
)
def test_a_file_name_has_the_model_the_time_and_nothing_that_leads_elsewhere(model: str, beginning: str) -> None:
    """A0.4."""
    name = filename(model, at=LATER)

    assert re.fullmatch(rf"{re.escape(beginning)}-{LATER.timestamp():.3f}-[0-9a-f]{{4}}\.json", name)
    assert len({filename(model, at=LATER) for _ in range(9)}) > 1


@pytest.mark.django_db
def test_a_hop_is_told_with_its_call_in_order_and_once(user: User) -> None:
    """A0.8: the snapshot that comes before a call's record has the call in it."""
    place = running(user)
    hop = said("a", calls=1)

    compaction.end_hop(place, hop, call=call(attempt=1, hop=0))
    compaction.end_hop(place, hop, call=call(attempt=1, hop=0))  # its commit was not heard of

    assert kinds(place.conversation_id) == ["user_message", "assistant_message", "stats", "completion_log"]
    told = entries(place.conversation_id)
    assert told[2][2]["turn"]["calls"] == 1
    assert (told[3][2]["outcome"], told[3][2]["cost"], told[3][2]["usage"]["prompt"]) == ("completed", "0.01", 10)


@pytest.mark.django_db
def test_a_turn_has_used_what_its_calls_have(user: User) -> None:
    place = running(user)
    compaction.end_hop(place, said("a", calls=1), call=call(attempt=1, hop=0))
    compaction.add_result(place, answered("b"))

    cut = call(attempt=1, hop=1, outcome="cancelled", is_estimated=True)
    compaction.end_turn(place, message=None, ended=TurnEnded(status="cancelled"), call=cut)

    turn = Turn.objects.get()
    assert (turn.prompt_tokens, turn.completion_tokens, turn.cost) == (20, 8, Decimal("0.02"))
    ended = entries(place.conversation_id)[-1][2]
    assert (ended["usage"]["prompt"], ended["cost"]) == (20, "0.02")


@pytest.mark.django_db
def test_the_log_says_nothing_of_single_calls_where_that_is_off(user: User, settings: Any) -> None:
    """A0.6."""
    settings.CHAT = {"COMPLETION_LOGS": "off"}
    place = running(user)

    compaction.end_hop(place, said("a", calls=1), call=call(attempt=1, hop=0))

    assert kinds(place.conversation_id) == ["user_message", "assistant_message", "stats"]


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="off, metadata, full"):
        ChatSettings(completion_logs="everything")


def asked(prompt: int = 50) -> Asked:
    return Asked(model="m", context_window=100, prompt=prompt, price=lambda usage: Decimal(usage.total) / 100)


def lost(place: Place) -> Abandoned:
    turn = Turn.objects.get(pk=place.turn_id)
    return Abandoned(turn.conversation_id, turn.pk, turn.attempt, turn.status, turn.losses, turn.engine, Q())


def told(place: Place) -> list[tuple[Any, ...]]:
    """Outcome, attempt, hop and tokens of each call of which there is a record."""
    rows = Event.objects.filter(turn_id=place.turn_id, kind=Kind.COMPLETION_LOG).order_by("seq")
    return [
        (
            data["outcome"],
            data["attempt"],
            data["hop"],
            data["usage"].get("prompt", 0),
            data["usage"].get("completion", 0),
        )
        for data in rows.values_list("data", flat=True)
    ]


@pytest.mark.django_db
def test_a_call_that_was_lost_with_its_process_is_told_by_who_takes_the_turn_over(user: User) -> None:
    place = running(user)
    store(place, [("text", "so far and")], [("text", " on")])

    takeover.take_over(lost(place), engine=uuid4(), lease=60.0, asked=asked())

    assert told(place) == [("lost", 1, 0, 50, 4)]
    stats = calls.newest(place.conversation_id)
    assert stats is not None
    assert (stats["turn"]["cost"], stats["turn"]["estimated"]) == ("0.54", 1)
    assert kinds(place.conversation_id)[1:] == ["stats", "completion_log", "turn_restarted"]


@pytest.mark.django_db
def test_who_was_lost_in_its_tools_has_lost_no_call(user: User) -> None:
    place = running(user)
    compaction.end_hop(place, said("a", calls=2), call=call(attempt=1, hop=0))
    compaction.add_result(place, answered("b"))

    takeover.take_over(lost(place), engine=uuid4(), lease=60.0, asked=asked())

    assert told(place) == [("completed", 1, 0, 10, 4)]


@pytest.mark.django_db
def test_a_turn_that_is_ended_for_its_lost_process_has_used_what_was_lost(user: User) -> None:
    place = running(user)
    compaction.end_hop(place, said("a", calls=1), call=call(attempt=1, hop=0))
    compaction.add_result(place, answered("b"))
    store(place, [("text", "12345678")], hop=1)
    error = TurnError(code="interrupted", message="Gone.")

    compaction.end_lapsed(place, error=error, still=lost(place).still, asked=asked())

    assert told(place) == [("completed", 1, 0, 10, 4), ("lost", 1, 1, 50, 2)]
    turn = Turn.objects.get()
    assert (turn.status, turn.prompt_tokens, turn.completion_tokens, turn.cost) == ("failed", 60, 6, Decimal("0.53"))


@pytest.mark.django_db
def test_a_call_that_is_broken_off_because_its_process_ends_is_told_once(user: User) -> None:
    place = running(user)

    broken_off = BrokenOff(place.conversation_id, call(attempt=1, hop=0, outcome="released"))
    engine = engine_of(place)
    for _ in range(2):  # its commit was not heard of
        Releases(engine).job(place.turn_id, attempt=1, broken_off=broken_off)()

    assert told(place) == [("released", 1, 0, 10, 4)]
    assert Turn.objects.get().engine is None


@pytest.mark.django_db
def test_what_is_told_of_calls_is_never_told_to_a_model(user: User) -> None:
    """A2.22; and it takes no room from what is."""
    place = running(user)
    for hop in range(12):
        compaction.end_hop(place, said(f"a{hop}", hop=hop, calls=1), call=call(attempt=1, hop=hop))
        compaction.add_result(place, answered("b", hop=hop))
    compaction.end_turn(place, message=said("bye", hop=12), ended=TurnEnded(status="completed"))
    first = Turn.objects.get()
    second = place_of(claimed_next(first))

    messages = context.build(Turn.objects.get(pk=second.turn_id), system="", budget=10_000)

    assert [type(message).__name__ for message in messages].count("AssistantMessage") == 13
    assert "stats" not in str(messages)


def claimed_next(parent: Turn) -> Turn:
    turn = new_turn(parent.conversation, parent=parent)
    claimed(turn)
    assert Turn.objects.get(pk=turn.pk).status == Status.RUNNING
    return turn
