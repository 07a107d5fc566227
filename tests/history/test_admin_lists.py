"""The lists of the admin on many rows: what they find, and that it costs no more than on few."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from history import conversations
from history.admin_lists import BOUND
from history.models import Conversation, Event, Turn

pytestmark = pytest.mark.django_db

FEW, MANY = 3 * BOUND, 12 * BOUND
STEPS = 1_000
"""Instructions of SQLite's machine between two counts."""

UUID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}
AGO = {
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-' || (%s - n) || ' seconds')",
    "postgresql": "now() - (%s - n) * interval '1 second'",
}
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT %s UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
EVENTS = """
INSERT INTO verbatim_history_event (conversation_id, seq, kind, model, data, at)
{numbers} SELECT c.id, n, CASE n %% 3 WHEN 0 THEN 'user_message' WHEN 1 THEN 'assistant_message' ELSE 'turn_ended' END,
'model-' || (n %% 2), '{{"text": "word"}}', {ago}
FROM numbers, verbatim_history_conversation c
"""
TURNS = """
INSERT INTO verbatim_history_turn (id, conversation_id, owner_id, origin, fingerprint, options, profile, model, status,
    attempt, error_code, finish_reason, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, created_at)
{numbers} SELECT {uuid}, c.id, c.owner_id, 'live', '', '{{}}', '', 'model-' || (n %% 2),
CASE n %% 3 WHEN 0 THEN 'failed' ELSE 'completed' END, 1, '', '', 0, 0, 0, 0, {ago}
FROM numbers, verbatim_history_conversation c
"""

CONVERSATIONS = """
INSERT INTO verbatim_history_conversation (id, owner_id, title, last_seq, archived, created_at, updated_at)
{numbers} SELECT {uuid}, u.id, '', 0, n %% 10000 = 0, {ago}, {ago} FROM numbers, auth_user u WHERE u.username = 'ada'
"""


def fill(statement: str, *, first: int, last: int) -> None:
    """Rows number `first` to `last`, one per second, the last one now."""
    ago, uuid = AGO[connection.vendor], UUID[connection.vendor]
    with connection.cursor() as cursor:
        times = [last] * statement.count("{ago}")
        cursor.execute(statement.format(numbers=NUMBERS, ago=ago, uuid=uuid), [first, last, *times])


class Work:
    """How much the database had to do: steps of its machine where it can count them, and the statements."""

    def __init__(self) -> None:
        self.steps = 0
        self.statements: list[str] = []

    def step(self) -> int:
        self.steps += 1
        return 0


@contextmanager
def measured() -> Iterator[Work]:
    """The database's work in this block."""
    work = Work()
    with CaptureQueriesContext(connection) as captured:
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(work.step, STEPS)
        try:
            yield work
        finally:
            if connection.vendor == "sqlite":
                connection.connection.set_progress_handler(None, STEPS)
    work.statements = [query["sql"] for query in captured]


@pytest.fixture
def conversation(user: User) -> Conversation:
    """The one in which everything happened."""
    return conversations.create(user.pk)


def ask(client: Client, model: str, query: str) -> Work:
    """Show a list; what that took."""
    with measured() as work:
        response = client.get(f"{reverse(f'admin:verbatim_history_{model}_changelist')}?{query}")
    assert response.status_code == 200
    return work


EVENT_QUERIES = [
    "",
    "p=100",
    "kind=turn_ended",
    "kind=none",
    "model=model-1",
    "model=none",
    "age=720",
    "age=1&kind=turn_ended",
]
EVENT_QUERIES += ["q=word", "q=absent", f"q={uuid4()}", "q=2020-01-01"]
TURN_QUERIES = ["", "p=100", "status__exact=failed", "status__exact=running", "model=model-1", "age=720", "age=1"]
TURN_QUERIES += ["q=absent", f"q={uuid4()}", "q=2020-01-01", "age=1&status__exact=failed"]
CONVERSATION_QUERIES = ["", "p=100", "archived__exact=1", "archived__exact=0", "age=1", "age=1&archived__exact=1"]


@pytest.mark.parametrize(
    ("model", "statement", "queries"),
    [
        ("event", EVENTS, EVENT_QUERIES),
        ("turn", TURNS, TURN_QUERIES),
        ("conversation", CONVERSATIONS, CONVERSATION_QUERIES),
    ],
)
def test_a_list_costs_the_same_on_many_rows_as_on_few(
    admin_client: Client, conversation: Conversation, model: str, statement: str, queries: list[str]
) -> None:
    fill(statement, first=1, last=FEW)
    few = {query: ask(admin_client, model, query) for query in queries}
    conversation.events.all().delete()
    conversation.turns.all().delete()
    Conversation.objects.exclude(pk=conversation.pk)._raw_delete(connection.alias)
    fill(statement, first=1, last=MANY)
    many = {query: ask(admin_client, model, query) for query in queries}

    dearer = {q: (few[q].steps, many[q].steps) for q in queries if many[q].steps > 1.2 * few[q].steps + 20}
    counts = [sql for work in many.values() for sql in work.statements if "COUNT(" in sql and "verbatim" in sql]
    assert dearer == {}
    assert counts
    assert [sql for sql in counts if not re.search(rf"LIMIT {BOUND}\b", sql)] == []


def test_pages_of_an_event_list_cost_a_fixed_number_of_statements(
    admin_client: Client, conversation: Conversation
) -> None:
    fill(EVENTS, first=1, last=10)
    few = ask(admin_client, "event", "")
    fill(EVENTS, first=11, last=200)
    many = ask(admin_client, "event", "")

    assert len(many.statements) == len(few.statements)


def found(client: Client, model: str, query: str) -> list[str]:
    """The ids of the rows that a list shows."""
    response = client.get(f"{reverse(f'admin:verbatim_history_{model}_changelist')}?{query}")
    return [str(row.pk) for row in response.context["cl"].result_list]


@pytest.fixture
def asked(conversation: Conversation) -> Turn:
    """A turn with a request id, among others."""
    fill(TURNS, first=1, last=20)
    fill(EVENTS, first=1, last=20)
    turn = Turn.objects.create(conversation=conversation, owner=conversation.owner, request_id=str(uuid4()))
    data = {"text": 'She said "naïve" 100% of the time'}
    Event.objects.create(conversation=conversation, seq=21, kind="user_message", turn=turn, data=data)
    return turn


def test_a_turn_is_found_by_its_id_its_request_and_what_was_said(admin_client: Client, asked: Turn) -> None:
    words = ["naïve", "SHE SAID", 'said "na', "100%"]

    assert found(admin_client, "turn", f"q={asked.pk}") == [str(asked.pk)]
    assert found(admin_client, "turn", f"q={asked.request_id}") == [str(asked.pk)]
    assert [found(admin_client, "turn", f"q={word.replace('%', '%25')}") for word in words] == [[str(asked.pk)]] * 4
    assert found(admin_client, "turn", "q=never said") == []


def test_an_event_is_found_by_its_turn_its_request_its_number_and_its_words(admin_client: Client, asked: Turn) -> None:
    event = Event.objects.get(turn=asked)

    for term in (asked.pk, asked.request_id, event.pk, "naïve", 'said "na'):
        assert found(admin_client, "event", f"q={term}") == [str(event.pk)]


def test_a_conversation_is_found_by_id_owner_title_turn_request_and_words(
    admin_client: Client, asked: Turn, other_user: User
) -> None:
    conversations.create(other_user.pk)
    conversations.rename(asked.conversation_id, title="Holidays in Ísafjörður")

    for term in (asked.conversation_id, "ada", "Holidays", "safj", asked.pk, asked.request_id, "naïve"):
        assert found(admin_client, "conversation", f"q={term}") == [str(asked.conversation_id)]


def test_conversations_that_were_put_away_are_found_and_told(admin_client: Client, user: User) -> None:
    away, here = conversations.create(user.pk), conversations.create(user.pk)
    conversations.change(away.pk, archived=True)

    pages = [
        admin_client.get(reverse("admin:verbatim_history_conversation_change", args=[each.pk])).content.decode()
        for each in (away, here)
    ]

    assert found(admin_client, "conversation", "archived__exact=1") == [str(away.pk)]
    assert found(admin_client, "conversation", "archived__exact=0") == [str(here.pk)]
    listed = admin_client.get(reverse("admin:verbatim_history_conversation_changelist")).content.decode()
    icons = [re.findall(r"field-archived.*?icon-(\w+)", page, re.DOTALL) for page in pages]
    assert icons == [["yes"], ["no"]]
    assert 'href="?archived__exact=1"' in listed


def test_words_are_looked_for_within_the_other_filters(admin_client: Client, asked: Turn) -> None:
    assert found(admin_client, "event", "q=naïve&kind=turn_ended") == []
    assert len(found(admin_client, "event", "q=word&kind=user_message")) == 6


def test_newest_come_first(admin_client: Client, asked: Turn) -> None:
    events, turns = found(admin_client, "event", ""), found(admin_client, "turn", "")

    assert events == [str(pk) for pk in Event.objects.order_by("-id").values_list("pk", flat=True)]
    assert turns[0] == str(asked.pk)


def test_a_day_is_found_whole_and_alone(admin_client: Client, conversation: Conversation) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    times = [
        day - timedelta(milliseconds=1),
        day,
        day + timedelta(hours=23, minutes=59, seconds=59),
        day + timedelta(days=1),
    ]
    rows = [
        Event.objects.create(conversation=conversation, seq=seq, kind="user_message", data={}, at=at)
        for seq, at in enumerate(times, start=1)
    ]

    assert found(admin_client, "event", "q=2026-03-01") == [str(rows[2].pk), str(rows[1].pk)]
    assert found(admin_client, "event", "q=2026-03-01&kind=turn_ended") == []
    assert found(admin_client, "event", "q=2031-03-01") == []


def test_an_event_numbered_after_a_later_one_is_in_its_day(admin_client: Client, conversation: Conversation) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    late, early = (
        Event.objects.create(
            conversation=conversation, seq=seq, kind="user_message", data={}, at=day + timedelta(seconds=after)
        )
        for seq, after in ((1, 20), (2, 5))
    )

    assert found(admin_client, "event", "q=2026-03-01") == [str(early.pk), str(late.pk)]


@pytest.mark.parametrize(
    ("age", "expected"), [("1", 1), ("24", 2), ("168", 3), ("720", 4), ("", 5), ("x", 5), ("99999", 5)]
)
def test_rows_are_filtered_by_age(admin_client: Client, conversation: Conversation, age: str, expected: int) -> None:
    now = datetime.now(tz=UTC)
    for seq, hours in enumerate((1000, 700, 100, 20, 0.5), start=1):
        at = now - timedelta(hours=hours)
        Event.objects.create(conversation=conversation, seq=seq, kind="user_message", data={}, at=at)

    assert len(found(admin_client, "event", f"age={age}")) == expected


def test_the_model_filter_offers_the_models_that_occur(admin_client: Client, asked: Turn) -> None:
    html = admin_client.get(reverse("admin:verbatim_history_event_changelist")).content.decode()

    assert re.findall(r'href="\?model=([^"]+)"', html) == ["model-0", "model-1"]
    assert len(found(admin_client, "event", "model=model-1")) == 10
