"""How the words are to be chosen is passed on to the model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from django.test import Client

from gateway.request import WHOLE, ChatCompletionRequest
from llm.scripted import says
from llm.types import Sampling
from tests.gateway.conftest import ADDRESS, SAY_HI


async def test_sampling_is_passed_on_and_what_is_unknown_is_ignored(door: Any) -> None:
    """A3.15."""
    at = await door([says("Hi.")])
    chosen: Any = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 1.0, "frequency_penalty": -1.0}
    chosen |= {"logit_bias": {"50256": -100}, "response_format": {"type": "json_object"}, "reasoning_effort": "low"}

    await at.ask(
        **chosen,
        max_tokens=5,
        max_completion_tokens=9,
        stop="END",
        user="u",
        store=False,
        metadata={},
        extra_body={"x": 1},
    )

    sampling = Sampling(**{**chosen, "logit_bias": {"50256": -100.0}}, max_tokens=9, stop=("END",))
    assert at.on.model.requests[0].sampling == sampling


async def test_a_whole_number_is_an_integer_with_a_point_too(door: Any) -> None:
    at = await door([says("Hi.")])

    await at.ask(extra_body={"max_tokens": 5.0, "seed": -7.0, "n": 1.0})

    assert at.on.model.requests[0].sampling == Sampling(max_tokens=5, seed=-7)
    assert type(at.on.model.requests[0].sampling.max_tokens) is int


@pytest.mark.parametrize("number", [5.5, 0.0, 1e300, True, "5"])
def test_what_is_no_integer_is_refused(ada: Client, number: Any) -> None:
    response = ada.post(ADDRESS, {"model": "demo", "messages": SAY_HI, "max_tokens": number}, "application/json")

    assert (response.status_code, response.json()["error"]["param"]) == (400, "max_tokens")


def test_every_integer_may_have_a_point() -> None:
    fields = msgspec.json.schema(ChatCompletionRequest)["$defs"]["ChatCompletionRequest"]["properties"]

    assert {name for name, field in fields.items() if "'integer'" in str(field)} == set(WHOLE)
