"""Asking again, and when not to."""

from __future__ import annotations

import pytest

from llm.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    EmptyReply,
    Malformed,
    ModelError,
    RateLimited,
    Stalled,
    TimedOut,
    Truncated,
    Unavailable,
)
from llm.retries import LONGEST_WAIT, RetryingModel, with_retries
from llm.scripted import ScriptedModel, ScriptExhausted, Step, says
from llm.types import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from tests.llm.conftest import REQUEST, ask


class Pauses:
    """Instead of sleeping, notes for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def retrying(*replies: list[Step] | tuple[Delta, ...]) -> tuple[RetryingModel, ScriptedModel, Pauses]:
    scripted, pauses = ScriptedModel(replies), Pauses()
    return with_retries(scripted, sleep=pauses), scripted, pauses


@pytest.mark.parametrize("error", [RateLimited(), Unavailable(), Truncated(), EmptyReply(), Malformed()])
async def test_what_may_pass_is_tried_again_with_growing_pauses(error: ModelError) -> None:
    model, scripted, pauses = retrying([error], [error], says("at", " last"))

    reply = await ask(model)

    assert reply.text == "at last"
    assert [request.call_id for request in scripted.requests] == ["turn:1:0:1", "turn:1:0:2", "turn:1:0:3"]
    assert 0.5 <= pauses.seconds[0] <= 0.625
    assert 1 <= pauses.seconds[1] <= 1.25


async def test_after_three_tries_the_error_is_the_callers() -> None:
    model, scripted, pauses = retrying([Unavailable()], [Unavailable()], [RateLimited()])

    with pytest.raises(RateLimited):
        await ask(model)

    assert len(scripted.requests) == 3
    assert len(pauses.seconds) == 2


@pytest.mark.parametrize("error", [AuthenticationFailed(), BadRequest(), ContextTooLong(), TimedOut(), Stalled()])
async def test_what_will_not_pass_is_not_tried_again(error: ModelError) -> None:
    model, scripted, _ = retrying([error], says("never"))

    with pytest.raises(type(error)):
        await ask(model)

    assert len(scripted.requests) == 1


@pytest.mark.parametrize("first", [TextDelta(text="a"), ReasoningDelta(text="a"), ToolCallDelta(index=0, name="f")])
async def test_once_something_was_said_nothing_is_tried_again(first: Delta) -> None:
    model, scripted, _ = retrying([first, Unavailable()], says("never"))

    with pytest.raises(Unavailable):
        await ask(model)

    assert len(scripted.requests) == 1


async def test_usage_alone_is_not_content() -> None:
    model, scripted, _ = retrying([Usage(prompt=1), Unavailable()], says("yes"))

    assert (await ask(model)).text == "yes"
    assert len(scripted.requests) == 2


async def test_the_provider_says_how_long_to_wait() -> None:
    model, _, pauses = retrying([RateLimited(retry_after=7)], says("yes"))

    await ask(model)

    assert pauses.seconds == [7]


async def test_a_wait_too_long_is_left_to_the_person() -> None:
    model, scripted, pauses = retrying([RateLimited(retry_after=LONGEST_WAIT + 1)], says("never"))

    with pytest.raises(RateLimited) as raised:
        await ask(model)

    assert raised.value.retry_after == LONGEST_WAIT + 1
    assert len(scripted.requests) == 1
    assert pauses.seconds == []


async def test_all_tries_together_keep_to_one_total() -> None:
    scripted, pauses = ScriptedModel([[RateLimited(retry_after=7)], says("never")]), Pauses()

    with pytest.raises(RateLimited):
        await ask(with_retries(scripted, total=5, sleep=pauses))

    assert len(scripted.requests) == 1
    assert (scripted.requests[0].time_limit or 0) <= 5


async def test_closing_closes_the_model_inside() -> None:
    model, scripted, _ = retrying([TextDelta(text="a"), TextDelta(text="b"), Finish(reason="stop")])
    stream = model.stream(REQUEST)
    await anext(stream)

    await stream.aclose()

    assert scripted.endings == ["closed"]


async def test_a_script_that_runs_out_fails_loudly() -> None:
    model, _, _ = retrying()

    with pytest.raises(ScriptExhausted):
        await ask(model)
