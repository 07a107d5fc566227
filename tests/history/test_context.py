"""What a model is told: a history that a provider takes, the newest of it, and never what is only for viewers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from history import context
from history.compaction import INTERRUPTED
from history.events import AssistantMessage, EventData, Kind, ToolResult, TurnEnded, TurnRestarted, UserMessage
from history.log import appending
from history.models import Conversation, DeltaBatch, Status, Turn
from llm import types as llm
from llm.types import Message, ToolCall
from tests.history.stage import answered, claimed, new_conversation, new_turn, said, store

PLENTY = 1_000_000

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
call_ids = st.sampled_from(["", "call_0", "call_1"])


@st.composite
def turns(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """The events of one turn, as kinds and data: stopped, killed, repeated, restarted or whole."""
    events: list[tuple[str, dict[str, Any]]] = [(Kind.USER_MESSAGE, {"text": draw(words.filter(bool))})]
    for hop in range(draw(st.integers(0, 4))):
        calls = [
            ToolCall(id=draw(call_ids), name="clock", arguments=draw(words)) for _ in range(draw(st.integers(0, 3)))
        ]
        message = AssistantMessage(hop=hop, text=draw(words), reasoning=draw(words), tool_calls=tuple(calls))
        events.append((Kind.ASSISTANT_MESSAGE, to_builtins(message)))
        for index in draw(st.permutations(range(len(calls)))):
            if draw(st.booleans()):
                result = ToolResult(
                    hop=hop, index=index, tool_call_id=calls[index].id, name="clock", content=f"{hop}.{index}"
                )
                events.append((Kind.TOOL_RESULT, to_builtins(result)))
        if draw(st.booleans()):
            events.append((Kind.TURN_RESTARTED, to_builtins(TurnRestarted(attempt=2, hop=hop + 1, reason="r"))))
        if draw(st.booleans()):
            events.append(("weather_report", {"text": "sunny"}))
    stray = ToolResult(hop=9, index=0, tool_call_id="nobody", name="clock", content="stray")
    if draw(st.booleans()):
        events.append((Kind.TOOL_RESULT, to_builtins(stray)))
    events.append((Kind.TURN_ENDED, to_builtins(TurnEnded(status=draw(st.sampled_from(["completed", "failed"]))))))
    return events


def exchanges(messages: tuple[Message, ...]) -> Iterator[tuple[Message, list[llm.ToolMessage]]]:
    """Each message that is not a tool's, with the tools' messages right after it."""
    at: tuple[Message, list[llm.ToolMessage]] | None = None
    for message in messages:
        if isinstance(message, llm.ToolMessage):
            assert at is not None, "a tool's message comes first"
            at[1].append(message)
            continue
        if at is not None:
            yield at
        at = (message, [])
    if at is not None:
        yield at


@given(turns())
def test_every_call_is_answered_right_after_its_message_and_nothing_else_is(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    """A2.11, A2.12, A2.26c: whatever was stopped, killed, repeated or comes from another version."""
    messages = context.messages_of(events)

    hops = [data for kind, data in events if kind == Kind.ASSISTANT_MESSAGE and (data["text"] or data["tool_calls"])]
    results = {(data["hop"], data["index"]): data["content"] for kind, data in events if kind == Kind.TOOL_RESULT}
    spoken = list(exchanges(messages))
    assert spoken[0] == (llm.UserMessage(text=events[0][1]["text"]), [])
    assert len(spoken) == 1 + len(hops)
    for (message, answers), hop in zip(spoken[1:], hops, strict=True):
        assert isinstance(message, llm.AssistantMessage)
        assert message.text == hop["text"]
        assert [to_builtins(call) for call in message.tool_calls] == list(hop["tool_calls"])
        assert [(answer.tool_call_id, answer.name) for answer in answers] == [
            (call.id, call.name) for call in message.tool_calls
        ]
        assert [answer.content for answer in answers] == [
            results.get((hop["hop"], index), INTERRUPTED) for index in range(len(answers))
        ]
        assert [answer.is_error for answer in answers] == [
            (hop["hop"], index) not in results for index in range(len(answers))
        ]


@given(turns())
def test_what_is_only_for_viewers_never_reaches_the_model(events: list[tuple[str, dict[str, Any]]]) -> None:
    """A2.22: reasoning, ends, restarts, deltas and unknown kinds."""
    messages = context.messages_of(events)

    visible = [event for event in events if event[0] in ("user_message", "assistant_message", "tool_result")]
    silent = [(kind, data | {"reasoning": ""} if "reasoning" in data else data) for kind, data in visible]
    assert messages == context.messages_of(silent)
    assert not any(isinstance(message, llm.SystemMessage) for message in messages)
    assert sum(isinstance(message, llm.UserMessage) for message in messages) == 1


def build(turn: Turn, *, system: str = "", budget: int = PLENTY) -> tuple[Message, ...]:
    turn.refresh_from_db()
    return context.build(turn, system=system, budget=budget)


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.content if isinstance(message, llm.ToolMessage) else message.text for message in messages]


def ended_turn(
    conversation: Conversation, text: str, *events: EventData, parent: Turn | UUID | None = None, **fields: Any
) -> Turn:
    """A turn that is over, with what was said in it after its message."""
    parent_id = parent.pk if isinstance(parent, Turn) else parent
    turn = new_turn(conversation, text=text, parent_id=parent_id, **fields)
    with appending(conversation.pk) as held:
        for event in (*events, TurnEnded(status="completed")):
            held.append(turn.pk, event)
    Turn.objects.filter(pk=turn.pk).update(status=Status.COMPLETED)
    return turn


def chain(conversation: Conversation, count: int, *, size: int = 1) -> Turn:
    """So many turns that follow each other: "q0" "a0", "q1" "a1" and so on, each `size` times; the last one."""
    turn: Turn | None = None
    for n in range(count):
        turn = ended_turn(conversation, f"q{n}" * size, said(f"a{n}" * size), parent=turn)
    assert turn is not None
    return turn


@pytest.mark.django_db
def test_the_users_message_appears_once_and_last(user: User) -> None:
    """A2.26b."""
    conversation = new_conversation(user)
    turn = new_turn(conversation, text="and now?", parent_id=chain(conversation, 2).pk)

    messages = build(turn, system="Be kind.")

    assert messages == (
        llm.SystemMessage(text="Be kind."),
        llm.UserMessage(text="q0"),
        llm.AssistantMessage(text="a0"),
        llm.UserMessage(text="q1"),
        llm.AssistantMessage(text="a1"),
        llm.UserMessage(text="and now?"),
    )


@pytest.mark.django_db
def test_without_a_system_text_there_is_no_system_message(user: User) -> None:
    assert build(new_turn(new_conversation(user), text="hi")) == (llm.UserMessage(text="hi"),)


@pytest.mark.django_db
def test_calls_and_results_of_earlier_turns_are_told_again(user: User) -> None:
    """A2.12, A2.26c; in the order of the calls, whichever tool was faster."""
    conversation = new_conversation(user)
    first = ended_turn(
        conversation,
        "time?",
        said("let me look", calls=2),
        answered("second", index=1),
        answered("first", index=0),
        said("it is noon", hop=1),
    )
    turn = new_turn(conversation, text="thanks", parent_id=first.pk)

    messages = build(turn)

    assert texts(messages) == ["time?", "let me look", "first", "second", "it is noon", "thanks"]
    assert isinstance(messages[1], llm.AssistantMessage)
    assert [call.id for call in messages[1].tool_calls] == ["call_0_0", "call_0_1"]
    assert [message.tool_call_id for message in messages if isinstance(message, llm.ToolMessage)] == [
        "call_0_0",
        "call_0_1",
    ]


@pytest.mark.django_db
def test_deltas_of_a_draft_are_not_told(user: User) -> None:
    """A2.22."""
    turn = new_turn(new_conversation(user), text="hi")
    store(claimed(turn), [("text", "half an answer")])

    messages = build(turn)

    assert DeltaBatch.objects.count() == 1
    assert texts(messages) == ["hi"]


@pytest.mark.django_db
def test_context_is_the_chain_of_parents_and_not_the_order_of_the_log(user: User) -> None:
    """A branch knows nothing of its siblings."""
    conversation = new_conversation(user)
    root = ended_turn(conversation, "root", said("r"))
    left = ended_turn(conversation, "left", said("l"), parent=root)
    ended_turn(conversation, "left, on", said("lo"), parent=left)
    right = ended_turn(conversation, "right", said("ri"), parent=root, replaces=left)
    other_root = ended_turn(conversation, "other root", said("o"), replaces=root)

    assert texts(build(right)) == ["root", "r", "right", "ri"]
    assert texts(build(other_root)) == ["other root", "o"]
    below_left = new_turn(conversation, text="again left", parent_id=left.pk)
    assert texts(build(below_left)) == ["root", "r", "left", "l", "again left"]


@pytest.mark.django_db
def test_other_conversations_are_not_told(user: User) -> None:
    chain(new_conversation(user), 2)
    conversation = new_conversation(user)
    turn = new_turn(conversation, text="mine", parent_id=chain(conversation, 1).pk)

    assert texts(build(turn)) == ["q0", "a0", "mine"]


@pytest.mark.django_db
def test_the_newest_that_fits_is_kept(user: User) -> None:
    """A2.26a: whole turns, from the newest back, and never more than the budget."""
    conversation = new_conversation(user)
    turn = new_turn(conversation, text="now", parent_id=chain(conversation, 60, size=20).pk)
    whole = texts(build(turn, system="s"))
    cost = context.estimate(llm.UserMessage(text="q0" * 20)) + context.estimate(llm.AssistantMessage(text="a0" * 20))

    for budget in range(0, 20 * cost, 7):
        messages = build(turn, system="s", budget=budget)
        told = texts(messages)
        assert told[0] == "s"
        assert told[1:] == whole[len(whole) - len(told) + 1 :], "a stretch that ends with the newest"
        assert len(told) % 2 == 0, "whole turns"
        if len(told) > 2:
            assert sum(map(context.estimate, messages)) <= budget
        assert len(told) == len(whole) or budget - sum(map(context.estimate, messages)) < 2 * cost, "room was left"


@pytest.mark.django_db
def test_the_turn_itself_is_never_cut(user: User) -> None:
    conversation = new_conversation(user)
    turn = ended_turn(
        conversation, "long " * 100, said("a", calls=1), answered("b" * 500), parent=chain(conversation, 1)
    )

    assert texts(build(turn, system="s", budget=1)) == ["s", "long " * 100, "a", "b" * 500]


@pytest.mark.django_db
def test_a_turn_that_does_not_fit_hides_what_is_older(user: User) -> None:
    """No hole in the middle: what is told is what came last."""
    conversation = new_conversation(user)
    small = ended_turn(conversation, "small", said("s"))
    huge = ended_turn(conversation, "huge" * 1000, said("h"), parent=small)
    newer = ended_turn(conversation, "newer", said("n"), parent=huge)
    turn = new_turn(conversation, text="now", parent_id=newer.pk)

    assert texts(build(turn, budget=100)) == ["newer", "n", "now"]


@pytest.mark.django_db
def test_a_turn_that_was_stopped_before_it_could_answer_is_told_as_a_question(user: User) -> None:
    conversation = new_conversation(user)
    failed = ended_turn(conversation, "anyone?", AssistantMessage(hop=0, reasoning="nobody hears this"))
    turn = new_turn(conversation, text="hello?", parent_id=failed.pk)

    assert build(turn) == (llm.UserMessage(text="anyone?"), llm.UserMessage(text="hello?"))


def many_turns(conversation: Conversation, count: int) -> Turn:
    """A long chain, made in a few queries."""
    ids = [uuid4() for _ in range(count)]
    began = datetime(2026, 1, 1, tzinfo=UTC)
    Turn.objects.bulk_create(
        Turn(
            pk=pk,
            conversation=conversation,
            owner_id=conversation.owner_id,
            status=Status.COMPLETED,
            parent_id=parent,
            created_at=began + timedelta(seconds=n),
        )
        for n, (pk, parent) in enumerate(zip(ids, [None, *ids], strict=False))
    )
    with appending(conversation.pk) as held:
        for n, pk in enumerate(ids):
            held.append(pk, UserMessage(text=f"q{n}"))
            held.append(pk, said(f"a{n}"))
            held.append(pk, TurnEnded(status="completed"))
    return Turn.objects.get(pk=ids[-1])


@pytest.mark.django_db
def test_a_chain_of_300_turns_costs_a_bounded_number_of_queries(user: User) -> None:
    conversation = new_conversation(user)
    last = many_turns(conversation, 300)

    with CaptureQueriesContext(connection) as queries:
        messages = context.build(last, system="", budget=PLENTY)

    assert texts(messages) == [f"{who}{n}" for n in range(300) for who in "qa"]
    assert len(queries) <= 20


@pytest.mark.django_db
def test_what_does_not_fit_is_not_even_read(user: User) -> None:
    last = many_turns(new_conversation(user), 300)

    with CaptureQueriesContext(connection) as queries:
        messages = context.build(last, system="", budget=60)

    assert texts(messages)[-2:] == ["q299", "a299"]
    assert 2 < len(messages) < 20
    assert len(queries) <= 6


@given(st.lists(words, min_size=1, max_size=5))
def test_an_estimate_grows_with_what_is_said(pieces: list[str]) -> None:
    for made in (lambda text: llm.UserMessage(text=text), lambda text: llm.AssistantMessage(text=text)):
        sizes = [context.estimate(made("".join(pieces[:n]))) for n in range(len(pieces) + 1)]
        assert sizes == sorted(sizes)
        assert sizes[0] >= 1


def test_calls_and_results_count_too() -> None:
    call = ToolCall(id="1", name="clock", arguments="x" * 400)

    assert context.estimate(llm.AssistantMessage(text="", tool_calls=(call,))) >= 100
    assert context.estimate(llm.ToolMessage(tool_call_id="1", name="clock", content="x" * 400)) >= 100


exchange = st.builds(
    lambda text, hops: context.messages_of(
        [(Kind.USER_MESSAGE, {"text": text}), *((Kind.ASSISTANT_MESSAGE, to_builtins(hop)) for hop in hops)]
    ),
    words,
    st.lists(st.builds(said, words, calls=st.integers(0, 2)), max_size=3),
)


@given(st.booleans(), st.lists(exchange, min_size=1, max_size=5), st.integers(0, 200))
def test_what_is_cut_to_fit_is_whole_exchanges_and_the_newest_of_them(
    system: bool, told: list[tuple[Message, ...]], budget: int
) -> None:
    """A2.26a: also while a turn grows, hop by hop."""
    head: tuple[Message, ...] = (llm.SystemMessage(text="Be kind."),) if system else ()

    def cut(kept: int) -> tuple[Message, ...]:
        return (*head, *(message for one in told[len(told) - kept :] for message in one))

    fitted = context.fit(cut(len(told)), budget=budget)

    fits = [kept for kept in range(1, len(told) + 1) if sum(map(context.estimate, cut(kept))) <= budget]
    assert fitted == cut(max(fits, default=1))
