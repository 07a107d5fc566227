"""Statements that are put together once: they do what Django's own do, with whatever each call gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Model, QuerySet
from django.test.utils import CaptureQueriesContext

from history.models import Conversation, Event, Turn
from history.prepared import Given, Insert, Select, Update, given
from tests.history.stage import new_conversation, new_turn

FIELDS = ("pk", "owner_id", "options", "created_at", "engine", "cost", "status")
HOSTILE = """'; DROP TABLE x; -- %s %(a)s %% " \\ \u2028 \U0001f600"""


def columns(row: Model) -> dict[str, object]:
    """All that is stored of it."""
    stored = type(row)._default_manager.filter(pk=row.pk).values().get()
    return dict(stored)


@pytest.mark.django_db
def test_a_select_reads_what_django_reads(user: User) -> None:
    turn = new_turn(new_conversation(user), options={"profile": "p", "tools": [1]}, engine=uuid4(), cost="0.25")
    select = Select(lambda: Turn.objects.filter(pk=given(Turn, "pk")).values_list(*FIELDS))

    rows = select.rows(pk=turn.pk)

    assert rows == list(Turn.objects.values_list(*FIELDS))
    assert select.first(pk=turn.pk) == rows[0]
    assert [type(value) for value in rows[0][:4]] == [UUID, type(user.pk), dict, datetime]


@pytest.mark.django_db
def test_each_call_gets_what_it_gives(user: User) -> None:
    first, second = new_conversation(user), new_conversation(user)
    select = Select(lambda: Conversation.objects.filter(pk=given(Conversation, "pk", name="wanted")).values_list("pk"))

    found = [select.first(wanted=pk) for pk in (first.pk, second.pk, uuid4(), None)]

    assert found == [(first.pk,), (second.pk,), None, None]


@pytest.mark.django_db
def test_a_query_is_put_together_once(user: User) -> None:
    asked = []

    def query() -> QuerySet[Conversation, tuple[UUID]]:
        asked.append(1)
        return Conversation.objects.filter(owner=given(Conversation, "owner")).values_list("pk")

    select = Select(query)
    found = [len(select.rows(owner=user.pk)) for _ in range(3) if new_conversation(user)]

    assert (found, asked) == ([1, 2, 3], [1])


@pytest.mark.django_db
def test_an_update_tells_how_many_rows_it_changed(user: User) -> None:
    conversation = new_conversation(user)
    began = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
    update = Update(
        lambda: Conversation.objects.filter(pk=given(Conversation, "pk")),
        title=given(Conversation, "title"),
        last_seq=F("last_seq") + 1,
        created_at=given(Conversation, "created_at"),
    )

    changed = [update.run(pk=pk, title=HOSTILE, created_at=began) for pk in (conversation.pk, uuid4(), conversation.pk)]

    assert changed == [1, 0, 1]
    conversation.refresh_from_db()
    assert (conversation.title, conversation.last_seq, conversation.created_at) == (HOSTILE, 2, began)


@pytest.mark.django_db
def test_a_span_of_time_can_be_given(user: User) -> None:
    conversation = new_conversation(user)
    later = ExpressionWrapper(F("created_at") + Given("span", DurationField()), output_field=DateTimeField())
    update = Update(lambda: Conversation.objects.filter(pk=given(Conversation, "pk")), updated_at=later)

    update.run(pk=conversation.pk, span=timedelta(days=1, milliseconds=1500))

    conversation.refresh_from_db()
    assert conversation.updated_at - conversation.created_at == timedelta(days=1, milliseconds=1500)


@pytest.mark.django_db
def test_a_row_is_inserted_as_django_inserts_it(user: User) -> None:
    conversation = new_conversation(user)
    told = {"conversation": conversation, "owner": user, "options": {"system": HOSTILE}, "request_id": HOSTILE}
    theirs, ours = Turn(status="completed", **told), Turn(status="failed", **{**told, "request_id": None})

    theirs.save(force_insert=True)
    Insert(Turn).run(ours)

    own = {"id", "status", "request_id", "created_at"}
    mine, django = columns(ours), columns(theirs)
    assert {name for name in mine if mine[name] != django[name]} <= own
    assert (mine["status"], mine["request_id"], mine["options"]) == ("failed", None, {"system": HOSTILE})
    assert abs(Turn.objects.get(pk=ours.pk).created_at - Turn.objects.get(pk=theirs.pk).created_at) < timedelta(hours=1)


@pytest.mark.django_db
def test_a_column_with_a_default_of_the_databases_can_be_told(user: User) -> None:
    turn = new_turn(new_conversation(user))
    at = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
    event = Event(conversation_id=turn.conversation_id, turn=turn, seq=2, kind="weather", data=[HOSTILE], at=at)

    Insert(Event, told=["at"]).run(event)

    assert Event.objects.values_list("at", "data", "turn_id").get(seq=2) == (at, [HOSTILE], turn.pk)


@pytest.mark.django_db
def test_a_refused_row_raises_what_django_raises(user: User) -> None:
    turn = new_turn(new_conversation(user))

    with pytest.raises(IntegrityError), transaction.atomic():
        Insert(Turn).run(Turn(conversation_id=turn.conversation_id, owner=user))

    assert Turn.objects.count() == 1


@pytest.mark.django_db
def test_a_lock_is_taken_where_the_database_has_them(user: User) -> None:
    conversation = new_conversation(user)
    lock = Select(
        lambda: (
            Conversation.objects.filter(pk=given(Conversation, "pk")).select_for_update(no_key=True).values_list("pk")
        )
    )

    with CaptureQueriesContext(connection) as captured:
        lock.first(pk=conversation.pk)

    assert [query["sql"].endswith("FOR NO KEY UPDATE") for query in captured] == [connection.vendor == "postgresql"]
