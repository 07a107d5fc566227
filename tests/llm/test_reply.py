"""Deltas folded into a reply."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.errors import Malformed
from llm.reply import MOST_CALLS, UNNAMED, Reply
from llm.types import Delta, Finish, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage


def folded(*deltas: Delta) -> Reply:
    reply = Reply()
    for delta in deltas:
        reply.add(delta)
    return reply


def call(
    index: int | None = None, *, id: str | None = None, name: str | None = None, arguments: str = ""
) -> ToolCallDelta:
    return ToolCallDelta(index=index, id=id, name=name, arguments=arguments)


def test_text_and_reasoning_are_kept_apart_and_their_order_is_remembered() -> None:
    reply = folded(
        ReasoningDelta(text="hm"),
        ReasoningDelta(text="m"),
        TextDelta(text="a😀"),
        TextDelta(text="b"),
        ReasoningDelta(text="?"),
        Usage(prompt=3, completion=4),
        Finish(reason="stop"),
    )

    assert reply.text == "a😀b"
    assert reply.reasoning == "hmm?"
    assert reply.runs == (("reasoning", 3), ("text", 3), ("reasoning", 1))
    assert reply.finish_reason == "stop"
    assert reply.usage == Usage(prompt=3, completion=4)


fragment = st.one_of(
    st.text(min_size=1).map(lambda text: TextDelta(text=text)),
    st.text(min_size=1).map(lambda text: ReasoningDelta(text=text)),
)


@given(st.lists(fragment))
def test_runs_cover_exactly_what_was_said_and_neighbours_differ(fragments: list[TextDelta | ReasoningDelta]) -> None:
    reply = folded(*fragments)
    channels = [channel for channel, _ in reply.runs]

    assert sum(length for channel, length in reply.runs if channel == "text") == len(reply.text)
    assert sum(length for channel, length in reply.runs if channel == "reasoning") == len(reply.reasoning)
    assert all(one != other for one, other in pairwise(channels))


ONE = ToolCall(id="a", name="f", arguments='{"x": 1}')
TWO = ToolCall(id="b", name="f", arguments='{"x": 2}')
SHAPES: dict[str, list[ToolCallDelta]] = {
    "fragments by index": [
        call(0, id="a", name="f"),
        call(0, arguments='{"x"'),
        call(0, arguments=": 1}"),
        call(1, id="b", name="f"),
        call(1, arguments='{"x": 2}'),
    ],
    "fragments of two calls, interleaved": [
        call(0, id="a", name="f"),
        call(1, id="b", name="f"),
        call(0, arguments='{"x"'),
        call(1, arguments='{"x": 2'),
        call(0, arguments=": 1}"),
        call(1, arguments="}"),
    ],
    "whole, with index": [
        call(0, id="a", name="f", arguments='{"x": 1}'),
        call(1, id="b", name="f", arguments='{"x": 2}'),
    ],
    "whole, without index": [
        call(id="a", name="f", arguments='{"x": 1}'),
        call(id="b", name="f", arguments='{"x": 2}'),
    ],
    "whole, all with index 0": [
        call(0, id="a", name="f", arguments='{"x": 1}'),
        call(0, id="b", name="f", arguments='{"x": 2}'),
    ],
    "fragments without index, by id": [
        call(id="a", name="f"),
        call(id="b", name="f", arguments='{"x"'),
        call(id="a", arguments='{"x": 1}'),
        call(id="b", arguments=": 2}"),
    ],
    "fragments without index, one after the other": [
        call(id="a", name="f"),
        call(arguments='{"x": '),
        call(arguments="1}"),
        call(id="b", name="f"),
        call(arguments='{"x": 2}'),
    ],
    "id and name repeated in every fragment": [
        call(0, id="a", name="f", arguments='{"x"'),
        call(0, id="a", name="f", arguments=": 1}"),
        call(1, id="b", name="f", arguments='{"x": 2'),
        call(1, id="b", name="f", arguments="}"),
        call(1, id="b", name="f"),
    ],
    "said whole twice": [
        call(0, id="a", name="f", arguments='{"x": 1}'),
        call(0, id="a", name="f", arguments='{"x": 1}'),
        call(1, id="b", name="f", arguments='{"x": 2}'),
    ],
    "a new id in every fragment": [
        call(0, id="a", name="f"),
        call(0, id="z", arguments='{"x": 1}'),
        call(1, id="b", name="f"),
        call(1, id="y", arguments='{"x": 2}'),
    ],
    "an index that begins at one": [
        call(1, id="a", name="f", arguments='{"x": 1}'),
        call(2, id="b", name="f", arguments='{"x": 2}'),
    ],
    "name and id one after the other": [
        call(0, id="a"),
        call(0, name="f"),
        call(0, arguments='{"x": 1}'),
        call(1, name="f"),
        call(1, id="b", arguments='{"x": 2}'),
    ],
}


@pytest.mark.parametrize("deltas", SHAPES.values(), ids=SHAPES.keys())
def test_calls_come_out_alike_in_whatever_shape_they_come(deltas: list[ToolCallDelta]) -> None:
    """A2.8."""
    assert folded(*deltas).calls() == (ONE, TWO)


def test_calls_without_index_and_id_are_told_apart_by_being_whole() -> None:
    """A2.8: a missing index is a new call."""
    reply = folded(call(name="f", arguments='{"x": 1}'), call(name="f", arguments='{"x": 2}'), call(name="g"))

    assert reply.calls() == (
        ToolCall(id="call_0", name="f", arguments='{"x": 1}'),
        ToolCall(id="call_1", name="f", arguments='{"x": 2}'),
        ToolCall(id="call_2", name="g", arguments="{}"),
    )


def test_an_id_that_a_provider_repeats_for_two_calls_is_given_once() -> None:
    reply = folded(
        call(0, id="same", name="f", arguments='{"x": 1}'), call(1, id="same", name="f", arguments='{"x": 2}')
    )

    assert [made.id for made in reply.calls()] == ["same", "call_1"]
    assert [made.arguments for made in reply.calls()] == ['{"x": 1}', '{"x": 2}']


def test_a_made_up_id_is_never_one_that_the_provider_gave() -> None:
    reply = folded(call(0, id="call_1", name="f"), call(1, name="g"))

    ids = [made.id for made in reply.calls()]

    assert ids[0] == "call_1"
    assert len(set(ids)) == 2


def test_a_call_without_a_name_is_kept_as_one_that_no_tool_answers_to() -> None:
    """A2.9: incomplete calls are not dropped silently."""
    reply = folded(call(0, id="a", arguments='{"x": 1}'), call(1, id="b", name="f", arguments='{"x": 2}'))

    assert reply.calls() == (ToolCall(id="a", name=UNNAMED, arguments='{"x": 1}'), TWO)


def test_arguments_that_never_came_are_none_and_those_that_broke_off_stay_so() -> None:
    """A2.9: a call whose arguments are missing is still a call."""
    reply = folded(call(0, id="a", name="f"), call(1, id="b", name="g", arguments='{"x": '))

    assert [made.arguments for made in reply.calls()] == ["{}", '{"x":']


def test_add_says_which_call_a_fragment_belongs_to() -> None:
    reply = Reply()

    places = [reply.add(delta) for delta in SHAPES["fragments of two calls, interleaved"]]

    assert places == [0, 1, 0, 1, 0, 1]
    assert reply.add(TextDelta(text="a")) is None


def test_a_model_gone_mad_is_not_listened_to_for_ever() -> None:
    reply = folded(*(call(number, name="f") for number in range(MOST_CALLS)))

    with pytest.raises(Malformed):
        reply.add(call(MOST_CALLS, name="f"))

    assert len(reply.calls()) == MOST_CALLS
    assert reply.add(call(MOST_CALLS - 1, arguments="{}")) == MOST_CALLS - 1
