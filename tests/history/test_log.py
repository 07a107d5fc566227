"""The log: numbers without holes, told after the commit only, tolerant of what other versions wrote."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from history import committed, context, log
from history.committed import Committed, Entry
from history.errors import NotFound
from history.events import AssistantMessage, Kind, ToolResult, TurnEnded, TurnRestarted, UserMessage
from history.log import appending
from history.models import Conversation, Event, Status, Turn
from llm.types import UserMessage as AskedMessage
from tests.history.stage import answered, at_once, elsewhere, new_conversation, new_turn, said

WRITERS = 8
EACH = 5


@pytest.fixture
def conversation(user: User) -> Conversation:
    return new_conversation(user)


def append(conversation_id: UUID, *texts: str) -> list[int]:
    with appending(conversation_id) as held:
        return [held.append(None, UserMessage(text=text)) for text in texts]


def fail_after_appending(conversation_id: UUID) -> None:
    with appending(conversation_id) as held:
        held.append(None, UserMessage(text="lost"))
        raise ZeroDivisionError


@transaction.atomic
def append_and_fail(conversation_id: UUID) -> None:
    append(conversation_id, "lost with what is around it")
    raise ZeroDivisionError


@pytest.mark.django_db(transaction=True)
def test_many_appenders_at_once_leave_no_hole_and_no_double(conversation: Conversation) -> None:
    """A2.23, A2.26d: numbers are given under the conversation's lock, not by MAX + 1."""

    def write(writer: int) -> list[int]:
        return [seq for n in range(EACH) for seq in append(conversation.pk, f"{writer}.{n}.a", f"{writer}.{n}.b")]

    given = at_once(*(partial(write, writer) for writer in range(WRITERS)))

    numbers = [seq for seqs in given if isinstance(seqs, list) for seq in seqs]
    assert sorted(numbers) == list(range(1, 2 * WRITERS * EACH + 1))
    page = log.read(conversation.pk, after=0)
    assert [entry.seq for entry in page.entries] == list(range(1, 2 * WRITERS * EACH + 1))
    assert page.last_seq == 2 * WRITERS * EACH
    stored = {entry.seq: entry.data["text"] for entry in page.entries}
    for writer, seqs in enumerate(given):
        assert isinstance(seqs, list)
        expected = [f"{writer}.{n}.{which}" for n in range(EACH) for which in "ab"]
        assert [stored[seq] for seq in seqs] == expected, "a writer's own order is kept"
        assert seqs == sorted(seqs)


@pytest.mark.django_db(transaction=True)
def test_nobody_ever_reads_a_number_before_the_one_below_it(conversation: Conversation) -> None:
    """R1: a reader that asks again and again while others append never meets a hole, not even for a moment."""

    def write() -> None:
        for n in range(4 * EACH):
            append(conversation.pk, str(n))

    def follow() -> None:
        last = 0
        while last < 3 * 4 * EACH:
            for entry in log.read(conversation.pk, after=last, limit=7).entries:
                assert entry.seq == last + 1
                last = entry.seq

    results = at_once(write, write, write, follow, follow)

    assert results == [None] * 5


@pytest.mark.django_db(transaction=True)
def test_different_conversations_do_not_wait_for_each_other(user: User) -> None:
    first, second = new_conversation(user), new_conversation(user)
    if connection.vendor == "sqlite":  # which has one writer at a time; there it is enough that the numbers are apart
        append(first.pk, "a")
        assert append(second.pk, "b") == [1]
        return

    with elsewhere(partial(append, first.pk, "a")):
        assert append(second.pk, "b") == [1]


@pytest.mark.django_db
def test_each_conversation_counts_from_one(user: User) -> None:
    first, second = new_conversation(user), new_conversation(user)

    numbers = [append(first.pk, "a"), append(second.pk, "b"), append(first.pk, "c", "d")]

    assert numbers == [[1], [1], [2, 3]]
    assert [log.position(first.pk), log.position(second.pk)] == [3, 1]


@pytest.mark.django_db
def test_a_number_that_was_not_committed_is_given_again(conversation: Conversation) -> None:
    append(conversation.pk, "kept")

    with pytest.raises(ZeroDivisionError):
        fail_after_appending(conversation.pk)

    assert append(conversation.pk, "next") == [2]
    assert [entry.data["text"] for entry in log.read(conversation.pk, after=0).entries] == ["kept", "next"]


@pytest.mark.django_db
def test_read_pages_through_the_log(conversation: Conversation) -> None:
    append(conversation.pk, *map(str, range(7)))

    first = log.read(conversation.pk, after=0, limit=3)
    second = log.read(conversation.pk, after=3, limit=3)
    third = log.read(conversation.pk, after=6, limit=3)
    after_the_end = log.read(conversation.pk, after=7, limit=3)

    pages = [[entry.seq for entry in page.entries] for page in (first, second, third, after_the_end)]
    assert pages == [[1, 2, 3], [4, 5, 6], [7], []]
    assert {page.last_seq for page in (first, second, third, after_the_end)} == {7}


@pytest.mark.django_db
def test_a_stretch_is_read_from_either_end(conversation: Conversation) -> None:
    """A2.26a: the newest are the newest, not the oldest."""
    append(conversation.pk, *map(str, range(7)))

    oldest = log.stretch(conversation.pk, limit=3)
    newest = log.stretch(conversation.pk, newest_first=True, limit=3)
    between = log.stretch(conversation.pk, after=2, before=5)
    backwards = log.stretch(conversation.pk, after=2, before=6, newest_first=True, limit=2)
    nowhere = log.stretch(conversation.pk, after=6, before=3)

    stretches = [[entry.seq for entry in found] for found in (oldest, newest, between, backwards, nowhere)]
    assert stretches == [[1, 2, 3], [7, 6, 5], [3, 4], [5, 4], []]


@pytest.mark.django_db
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("kinds", [("tool_result",), ("user_message", "turn_ended"), ("turn_restarted",), tuple(Kind)])
def test_a_stretch_of_some_kinds_is_the_whole_without_the_others(
    user: User, kinds: tuple[str, ...], newest_first: bool
) -> None:
    conversation = new_conversation(user)
    for number in range(3):
        turn = new_turn(conversation, text=str(number))
        with appending(conversation.pk) as held:
            held.append(turn.pk, said("a", calls=2))
            held.append(turn.pk, answered("b"))
            held.append(turn.pk, answered("c", index=1))
            held.append(turn.pk, TurnEnded(status="completed"))
        Turn.objects.update(status=Status.COMPLETED)
    everything = log.stretch(conversation.pk, after=2, before=14, newest_first=newest_first)

    for limit in (1, 2, 3, 100):
        found = log.stretch(conversation.pk, after=2, before=14, kinds=kinds, newest_first=newest_first, limit=limit)
        assert found == tuple(entry for entry in everything if entry.kind in kinds)[:limit]


@pytest.mark.django_db
def test_a_page_says_which_event_before_it_ended_a_draft(user: User) -> None:
    turn = new_turn(new_conversation(user))
    with appending(turn.conversation_id) as held:
        held.append(turn.pk, said("a", calls=1))
        held.append(turn.pk, answered("b"))
        held.append(turn.pk, TurnRestarted(attempt=2, hop=1, reason="taken over"))
        held.append(None, UserMessage(text="of another version"))
        held.append(turn.pk, TurnEnded(status="completed"))

    ended = [log.read(turn.conversation_id, after=after).ended for after in range(8)]

    assert ended == [0, 0, 2, 2, 4, 4, 6, 6]


@pytest.mark.django_db(transaction=True)
def test_listeners_hear_of_events_after_their_commit_and_as_readers_get_them(user: User, told: list[Committed]) -> None:
    turn = new_turn(new_conversation(user))
    told.clear()

    with transaction.atomic():
        with appending(turn.conversation_id) as held:
            held.append(turn.pk, said("ä\U0001f600\u202e", calls=1))
            held.append(turn.pk, answered("b"))
        assert told == [], "nothing is told before the commit"

    assert [(change.conversation_id, change.last_seq, change.turn_id) for change in told] == [
        (turn.conversation_id, 3, turn.pk)
    ]
    assert told[0].entries == log.read(turn.conversation_id, after=1).entries
    assert [entry.kind for entry in told[0].entries] == [Kind.ASSISTANT_MESSAGE, Kind.TOOL_RESULT]


@pytest.mark.django_db(transaction=True)
def test_listeners_never_hear_of_what_was_rolled_back(conversation: Conversation, told: list[Committed]) -> None:
    with pytest.raises(ZeroDivisionError):
        append_and_fail(conversation.pk)
    with pytest.raises(ZeroDivisionError):
        fail_after_appending(conversation.pk)

    assert told == []
    assert log.position(conversation.pk) == 0


@pytest.mark.django_db(transaction=True)
def test_listeners_hear_nothing_of_a_lock_under_which_nothing_was_written(
    conversation: Conversation, told: list[Committed]
) -> None:
    with appending(conversation.pk):
        pass

    assert told == []


@pytest.mark.django_db(transaction=True)
def test_a_listener_that_fails_hurts_nobody(conversation: Conversation, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Committed] = []

    def failing(change: Committed) -> None:
        raise ZeroDivisionError

    added = [failing, heard.append]
    committed.listeners.extend(added)
    try:
        numbers = append(conversation.pk, "a")
    finally:
        for listener in added:
            committed.listeners.remove(listener)

    assert numbers == [1]
    assert [change.last_seq for change in heard] == [1]
    assert log.position(conversation.pk) == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.django_db
def test_a_conversation_that_is_not_there_is_not_found() -> None:
    nobody = uuid4()

    with pytest.raises(NotFound):
        append(nobody, "a")
    with pytest.raises(NotFound):
        log.read(nobody, after=0)
    with pytest.raises(NotFound):
        log.position(nobody)

    assert log.stretch(nobody) == ()
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_what_other_versions_wrote_is_read_as_it_is(user: User) -> None:
    """Unknown kinds and unknown fields pass through; what is known of a row is used."""
    turn = new_turn(new_conversation(user), text="hi")
    later = [
        (2, "weather_report", {"sky": {"blue": True}, "text": 5}),
        (3, "user_message", {"text": "from the future", "mood": ["good"]}),
        (4, "assistant_message", {"hop": 0, "text": "yes", "tool_calls": [{"id": "1", "name": "n", "arguments": "{}",
                                                                         "colour": "red"}], "thought": None}),
    ]  # fmt: skip
    for seq, kind, data in later:
        Event.objects.create(conversation_id=turn.conversation_id, turn=turn, seq=seq, kind=kind, data=data)
    Conversation.objects.filter(pk=turn.conversation_id).update(last_seq=4)

    page = log.read(turn.conversation_id, after=1)
    messages = context.build(turn, system="", budget=1000)

    assert [(entry.seq, entry.kind, entry.data) for entry in page.entries] == later
    assert messages[:2] == (AskedMessage(text="hi"), AskedMessage(text="from the future"))
    assert [type(message).__name__ for message in messages[2:]] == ["AssistantMessage", "ToolMessage"]


@pytest.mark.django_db
def test_columns_repeat_what_the_data_says(user: User) -> None:
    turn = new_turn(new_conversation(user), model="m")
    with appending(turn.conversation_id) as held:
        held.append(turn.pk, AssistantMessage(hop=3, text="a", model="gpt"))
        held.append(turn.pk, ToolResult(hop=3, index=2, tool_call_id="x", name="n", content="c"))
        held.append(turn.pk, TurnEnded(status="completed"))

    rows = Event.objects.order_by("seq").values_list("kind", "hop", "index", "model", "turn_id")

    assert list(rows) == [
        ("user_message", None, None, "", turn.pk),
        ("assistant_message", 3, None, "gpt", turn.pk),
        ("tool_result", 3, 2, "", turn.pk),
        ("turn_ended", None, None, "", turn.pk),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    [
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 שלום \u202eabc\u202c",
        "".join(map(chr, [*range(1, 0x300), 0x2028, 0xFFFE, 0xFFFF, 0x1F600, 0x10FFFF])),
        'quote " backslash \\ \\u0041 \\ud800 slash /',
    ],
    ids=["emoji and right-to-left", "controls and noncharacters", "escapes"],
)
def test_text_comes_back_unchanged(conversation: Conversation, text: str) -> None:
    """R21."""
    append(conversation.pk, text)

    assert [entry.data["text"] for entry in log.read(conversation.pk, after=0).entries] == [text]


@pytest.mark.django_db
def test_a_conversation_moves_up_when_something_is_said_in_it(user: User) -> None:
    turn = new_turn(new_conversation(user))

    with appending(turn.conversation_id) as held:
        held.append(turn.pk, said("a"))
        now = held.now

    assert Conversation.objects.values_list("updated_at", flat=True).get() == now
    entry: Entry = log.read(turn.conversation_id, after=1).entries[0]
    assert entry.at == now
    assert Turn.objects.get().created_at <= now


def effort(call: Callable[[], object]) -> int:
    """What a call costs the database, in its own unit: steps of SQLite's machine, blocks that PostgreSQL looks at."""
    if connection.vendor == "sqlite":
        steps = count()
        connection.connection.set_progress_handler(lambda: next(steps) < 0, 1)
        call()
        connection.connection.set_progress_handler(None, 1)
        return next(steps)
    with CaptureQueriesContext(connection) as captured:
        call()
    with connection.cursor() as cursor:
        blocks = 0
        for query in captured:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query['sql']}")
            blocks += cursor.fetchone()[0][0]["Plan"]["Shared Hit Blocks"]
        return blocks


@pytest.mark.django_db
def test_a_stretch_costs_the_same_at_any_depth_however_rare_its_kinds(conversation: Conversation) -> None:
    bound = {"sqlite": 1_000, "postgresql": 100}[connection.vendor]
    Event.objects.bulk_create(
        Event(
            conversation=conversation,
            seq=seq,
            kind=Kind.TURN_ENDED if seq % 1_000 == 0 else Kind.TOOL_RESULT,
            data={"content": "x" * 200},
        )
        for seq in range(1, 10_001)
    )
    if connection.vendor == "postgresql":
        connection.cursor().execute("ANALYZE verbatim_history_event")

    for kinds in ((), ("tool_result",), ("turn_ended",), ("user_message", "turn_ended"), tuple(Kind)):
        for place in (100, 5_000, 9_900):
            read = partial(log.stretch, conversation.pk, kinds=kinds, limit=10)

            assert effort(partial(read, after=place)) < bound
            assert effort(partial(read, before=place, newest_first=True)) < bound
            assert effort(partial(read, after=1, before=place + 1)) < bound
            assert effort(partial(read, after=place - 1, before=9_999, newest_first=True)) < bound
