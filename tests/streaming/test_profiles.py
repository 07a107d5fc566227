"""What a profile of the table says holds for the turns that are asked of it, wherever they run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from access.models import Profile
from access.profiles import forget
from history.models import Turn
from llm.scripted import says
from llm.types import Finish, Sampling, SystemMessage, ToolCallDelta
from tests.streaming.conftest import has_ended

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LOST = {"status": "running", "attempt": 1, "engine": uuid4(), "lease_expires_at": LONG_AGO}


def calls(name: str) -> tuple[Any, ...]:
    return ToolCallDelta(index=0, id="c1", name=name, arguments='{"expression": "1"}'), Finish(reason="tool_calls")


async def test_a_call_is_made_as_the_profile_says(stage: Any) -> None:
    on = await stage([says("Hello.")])
    await Profile.objects.acreate(
        name="fast", system_prompt="Be brief.", temperature=0.5, max_output_tokens=90, tools=["calculator"]
    )

    await on.send(model="fast")
    await on.watch(until=has_ended())

    (request,) = on.model.requests
    assert request.messages[0] == SystemMessage("Be brief.")
    assert request.sampling == Sampling(temperature=0.5, max_tokens=90)
    assert [tool.name for tool in request.tools] == ["calculator"]
    assert await Turn.objects.values_list("profile", "model").aget() == ("fast", "fast")


async def test_a_tool_that_a_profile_does_not_have_is_not_run(stage: Any) -> None:
    on = await stage([calls("calculator"), says("Well.")])
    await Profile.objects.acreate(name="plain", tools=[])

    await on.send(model="plain")
    folded = await on.watch(until=has_ended())

    (result,) = (event["data"] for event in folded.events.values() if event["kind"] == "tool_result")
    assert result["is_error"]
    assert "There is no tool 'calculator'" in result["content"]


async def lost(on: Any, settings: Any) -> None:
    """A turn of a process that is gone, for one that soon looks after others' turns."""
    settings.CHAT = {**settings.CHAT, "LEASE": 0.2, "LEASE_RENEWAL": 0.05}
    await Turn.objects.acreate(
        conversation_id=on.conversation_id, owner=on.user, options={"profile": "fast"}, profile="fast", **LOST
    )


async def test_a_turn_that_is_taken_over_finds_its_profile_again(stage: Any, settings: Any) -> None:
    on = await stage([says("Hello.")])
    await Profile.objects.acreate(name="fast", system_prompt="Be brief.", audience="staff")
    forget()
    await lost(on, settings)

    folded = await on.watch(until=has_ended())

    assert on.model.requests[0].messages[0] == SystemMessage("Be brief.")
    assert folded.events[max(folded.events)]["data"]["status"] == "completed"


async def test_a_turn_whose_profile_was_deleted_ends_and_says_so(stage: Any, settings: Any) -> None:
    on = await stage([])
    await lost(on, settings)

    folded = await on.watch(until=has_ended())

    assert folded.events[max(folded.events)]["data"]["error"] == {
        "code": "unknown_model",
        "message": "There is no such model. Choose another one.",
    }
    assert on.model.requests == []
    assert await Turn.objects.values_list("error_code", flat=True).aget() == "unknown_model"
