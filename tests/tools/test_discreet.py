"""Whatever tools say, nobody gets it before what nobody may read is taken out."""

from __future__ import annotations

import pytest

from llm.types import ToolCall
from tools.errors import ToolError
from tools.output import LIMIT, Source, ToolOutput
from tools.tool import Tool, ToolContext, tool
from tools.toolbox import ToolAnswer, Toolbox


def discreet(text: str) -> str:
    return text.replace("canary", "[hidden]")


async def answer(tool: Tool) -> ToolAnswer:
    context = ToolContext(principal="7", conversation="c", turn="t")
    box = Toolbox([tool], discreet=discreet).only([tool.name])
    return await box.run(ToolCall(id="c", name=tool.name, arguments="{}"), context=context, index=0)


@tool
async def waits() -> dict[str, str]:
    """Return it."""
    return {"key": "a canary"}


@tool
def works() -> dict[str, str]:
    """Return it from a thread."""
    return {"key": "a canary"}


@pytest.mark.parametrize("tool", [waits, works])
async def test_a_result_is_without_it(tool: Tool) -> None:
    assert (await answer(tool)).content == '{"key": "a [hidden]"}'


async def test_a_reason_is_without_it() -> None:
    @tool
    async def refuse() -> None:
        """Say why not."""
        raise ToolError("401 for canary")

    answered = await answer(refuse)

    assert (answered.content, answered.is_error) == ("401 for [hidden]", True)


async def test_sources_are_without_it() -> None:
    @tool
    async def cite() -> ToolOutput:
        """Say where from."""
        return ToolOutput("", sources=[Source(title="canary", url="https://example.org/?key=canary")])

    assert (await answer(cite)).sources == (Source(title="[hidden]", url="https://example.org/?key=[hidden]"),)


async def test_no_part_of_it_is_left_where_a_result_is_cut() -> None:
    @tool
    async def tell() -> str:
        """Tell a lot."""
        return "x" * (LIMIT - 3) + "canary"

    assert (await answer(tell)).content.startswith("x" * (LIMIT - 3) + "[hi\n[cut")
