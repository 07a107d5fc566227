"""The OpenAPI document keeps what it says: whatever is sent to a real server, the answer is one that is described."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi

from access.keys import HEADERS
from access.principals import Scope
from chat.rest.browse import document
from chat.urls import urlpatterns
from gateway import urls as gateway
from tests.client import Client, ended
from tests.provider import ProviderProcess
from tests.server import Site
from tests.system.cluster import scaled

CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
    openapi.ignored_auth,
]
ASKING = "/v1/chat/completions"
CONFIG = SchemathesisConfig.from_dict({"operations": [{"include-path": ASKING, "generation": {"allow-x00": False}}]})
"""What is refused wherever it is, is refused soon enough."""
HI: Any = {"role": "user", "content": "Hi"}
ENDLESS = "/api/v1/conversations/{conversation_id}/stream/"
EXAMPLES = scaled(40, 8)
ROOT = "from django.contrib.auth.models import User; User.objects.update(is_superuser=True)"
"""Lets everybody through every door of the site."""


class Tried:
    """A conversation with an ended turn, and who may see it. `ids` are what there is by its name in a request."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ids: dict[str, Any] = asyncio.run(self._make())

    async def _make(self) -> dict[str, Any]:
        conversation = await self.client.new_conversation()
        async with self.client.socket(conversation) as socket:
            await socket.send("hi")
            await socket.until(ended())
            turn = next(event["turn"] for event in socket.folded.events.values())
            seq = next(seq for seq, event in socket.folded.log.items() if event["kind"] == "completion_log")
        await self.client.call("POST", "/api/v1/profiles/fast", {})
        in_paths = {"conversation_id": conversation, "turn_id": turn, "seq": seq, "name": "fast"}
        return {**in_paths, "turn": turn, "request_id": turn, "model": "demo", "provider": "demo"}

    def help(self, case: schemathesis.Case[Any]) -> None:
        """Have it get further: no second key beside the good one, and in the body the names of what is there."""
        for name in HEADERS:
            case.headers.pop(name, None)
        if isinstance(case.body, dict):
            case.body |= {name: value for name, value in self.ids.items() if name in case.body}
            if isinstance(messages := case.body.get("messages"), list):
                messages.append(HI)


@pytest.fixture(scope="module")
def tried(site: Site, provider_process: ProviderProcess) -> Iterator[Tried]:
    """Something to find. What is asked here is the same under every server, so there is one."""
    provider_process.reset()
    with site.start("uvicorn") as server:
        site.manage("create_api_key", "schema", "--create-user")
        site.manage("shell", "-v", "0", "-c", ROOT)
        key = site.manage("create_api_key", "schema", *(f"--scope={scope}" for scope in Scope)).strip()
        yield Tried(Client(server.url, key=key))


SCHEMA = schemathesis.openapi.from_dict(document(), config=CONFIG)
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]  # else it raises


def answer(case: schemathesis.Case[Any], tried: Tried) -> Any:
    """One that is described."""
    return case.call_and_validate(
        base_url=tried.client.url, headers=tried.client.headers, checks=CHECKS, timeout=60, verify=False
    )


@pytest.mark.parametrize("mode", GenerationMode, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_whatever_is_sent_the_answer_is_one_that_is_described(
    operation: Any, mode: GenerationMode, tried: Tried
) -> None:
    statuses = set()

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), finds=st.booleans())
    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), derandomize=True
    )
    def send(case: schemathesis.Case[Any], finds: bool) -> None:
        if case.method != "DELETE" and case.path != ENDLESS:
            case.path_parameters = {name: tried.ids[name] for name in case.path_parameters}
        if finds:
            tried.help(case)
        response = answer(case, tried)
        statuses.add(response.status_code)

    send()

    assert statuses
    assert max(statuses) < 500


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_of_a_model_is_one_that_is_described(tried: Tried, streams: bool) -> None:
    """What is made up is seldom a request that has one."""
    [operation] = [each for each in OPERATIONS if each.path == ASKING]
    body: Any = {"model": "demo", "messages": [HI], "stream": streams}

    response = answer(operation.Case(body=body, media_type="application/json"), tried)

    assert response.status_code == 200


def test_the_document_has_every_door_of_the_interface() -> None:
    described = {operation.path for operation in OPERATIONS}

    routes = [str(pattern.pattern) for pattern in urlpatterns]
    routes += [f"v1/{pattern.pattern}" for pattern in gateway.urlpatterns]
    doors = {"/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route) for route in routes if "^" not in route}
    doors |= {"/api/v1/profiles/{name}/"}  # the only pattern of its kind
    assert described == {door for door in doors if "/v1/" in door} - {"/api/v1/", "/v1/"}
