"""The models of the site as OpenAI's own client lists them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from django.test import Client, override_settings

from llm.scripted import says

PROFILES = ({"name": "local/tiny", "base_url": "http://127.0.0.1:9/v1"},)


async def test_the_models_are_the_profiles(door: Any) -> None:
    """A3.1."""
    at = await door()

    with override_settings(CHAT={"PROFILES": PROFILES}):
        listed = [model async for model in at.client.models.list()]
        one = await at.client.models.retrieve("local/tiny")

    assert [(model.id, model.object, model.owned_by) for model in listed] == [
        ("local/tiny", "model", "verbatim"),
        ("demo", "model", "verbatim"),
    ]
    assert one == listed[0]
    assert one.created > 1_700_000_000


async def test_ids_begin_with_what_the_site_says(door: Any) -> None:
    """A3.1, A3.5."""
    at = await door([says("Hi.")])

    with override_settings(CHAT={"GATEWAY_MODEL_PREFIX": "openhands_"}):
        listed = [model.id async for model in at.client.models.list()]
        answer = await at.ask(model="openhands_demo")
        for other in ("demo", "openhands_huge", "openhands_"):
            with pytest.raises(openai.NotFoundError):
                await at.ask(model=other)

    assert listed == ["openhands_demo"]
    assert answer.model == "openhands_demo"


def test_a_model_that_is_not_there_is_not_found(ada: Client) -> None:
    response = ada.get("/v1/models/huge")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
