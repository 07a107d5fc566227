"""What was said elsewhere becomes turns that have ended, and is told to a model just as it was said."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from history import context, conversations, imports
from history.events import KINDS, AssistantMessage, CallerResult, UserMessage
from history.log import appending
from history.models import Event, Turn
from llm import types as llm
from llm.types import Message, ToolCall

PLENTY = 1_000_000
words = st.text("abc", min_size=1, max_size=3)


@st.composite
def talks(draw: st.DrawFn) -> list[Message]:
    """A talk that a provider would take, up to the next question."""
    said: list[Message] = []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            said.append(llm.UserMessage(text=draw(words)))
        else:
            calls = tuple(
                ToolCall(id=f"c{number}", name="clock", arguments="{}") for number in range(draw(st.integers(0, 3)))
            )
            said.append(llm.AssistantMessage(text=draw(words), tool_calls=calls))
            said += [llm.ToolMessage(tool_call_id=each.id, name="clock", content=draw(words)) for each in calls]
    return said


def told(found: list[imports.Exchange]) -> list[Message]:
    """What a model is told of turns."""
    return [
        message
        for exchange in found
        for message in context.messages_of(
            [(KINDS[type(event)], to_builtins(event)) for event in exchange.events(parent=None)]
        )
    ]


@given(talks())
def test_a_talk_that_was_imported_is_told_word_for_word(said: list[Message]) -> None:
    assert told(imports.exchanges(said)) == said


@given(talks())
def test_each_turn_has_one_message_of_a_caller_and_one_end(said: list[Message]) -> None:
    for exchange in imports.exchanges(said):
        kinds = [KINDS[type(event)].value for event in exchange.events(parent=None)]
        assert kinds[0] == "user_message"
        assert kinds[-1] == "turn_ended"
        assert not {"user_message", "turn_ended"} & set(kinds[1:-1])


def test_what_the_site_tells_a_model_is_not_imported() -> None:
    assert imports.exchanges([llm.SystemMessage(text="Be kind.")]) == []


@pytest.fixture
def log_of(user: User) -> Any:
    """A conversation of Ada's into which talks are imported, before a question."""
    conversation = conversations.create(user.pk)

    def add(said: list[Message]) -> Turn:
        with appending(conversation.pk) as log:
            parent = imports.append(log, said, owner_id=user.pk, key_id=None)
        turn = Turn.objects.create(conversation=conversation, owner=user, parent_id=parent)
        with appending(conversation.pk) as log:
            log.append(turn.pk, UserMessage(text="Now?"))
        return turn

    return add


def test_it_is_in_the_log_without_holes_and_the_next_question_follows_it(log_of: Any) -> None:
    said: list[Message] = []
    for number in range(6):
        said += [llm.UserMessage(text=f"q{number}"), llm.AssistantMessage(text=f"a{number}")]

    turn = log_of(said)

    assert list(Event.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 20))
    assert set(Turn.objects.exclude(pk=turn.pk).values_list("origin", "status")) == {("imported", "completed")}
    assert context.build(turn, system="", budget=PLENTY) == (*said, llm.UserMessage(text="Now?"))


def results_turn(parent: Turn, call_id: str, answer: str, *, calls: tuple[ToolCall, ...]) -> Turn:
    """A turn that begins with an answer to its parent's call, and asks for the next."""
    turn = Turn.objects.create(conversation=parent.conversation, owner=parent.owner, parent=parent, status="completed")
    with appending(parent.conversation_id) as log:
        log.append(turn.pk, UserMessage(text="", results=(CallerResult(tool_call_id=call_id, content=answer),)))
        log.append(turn.pk, AssistantMessage(hop=0, tool_calls=calls))
    return turn


def call(number: int) -> ToolCall:
    return ToolCall(id=f"c{number}", name="look_up", arguments="{}")


@pytest.mark.parametrize("budget", [PLENTY, 1])
def test_a_chain_of_answers_to_calls_is_one_exchange_however_little_fits(user: User, budget: int) -> None:
    conversation = conversations.create(user.pk)
    turn = Turn.objects.create(conversation=conversation, owner=user, status="completed")
    with appending(conversation.pk) as log:
        log.append(turn.pk, UserMessage(text="Go."))
        log.append(turn.pk, AssistantMessage(hop=0, text="Yes.", tool_calls=(call(0),)))
    for number in range(4):
        turn = results_turn(turn, f"c{number}", f"r{number}", calls=(call(number + 1),))

    messages = context.build(turn, system="", budget=budget)

    assert messages[0] == llm.UserMessage(text="Go.")
    answers = [message.content for message in messages if isinstance(message, llm.ToolMessage)]
    assert answers[:4] == ["r0", "r1", "r2", "r3"]
    assert len(messages) == 11
