"""The demo model: no key, no network, and yet a conversation: at a human pace, with tools, thinking aloud if asked."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Iterator

from llm.demo_answers import answer
from llm.types import ChatRequest, Delta, Finish, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage

PACE = 50.0
"""Tokens a second."""
_TOKEN = re.compile(r"\s*\S{1,6}|\s+")


class DemoModel:
    """Answers by topic, one small fragment after the other. `pace` is in tokens a second; 0 does not wait at all."""

    def __init__(self, *, pace: float = PACE) -> None:
        self._pace = pace

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The reply as deltas; `Usage` is an estimate of four characters a token for the prompt."""
        said = answer(request)
        limit = request.sampling.max_tokens
        spoken = thought = 0
        reason = "tool_calls" if said.calls else "stop"
        for delta in _fragments(said.reasoning, said.text, said.calls):
            if limit is not None and spoken >= limit:
                reason = "length"
                break
            await self._breathe()
            yield delta
            spoken += 1
            thought += isinstance(delta, ReasoningDelta)
        yield Finish(reason=reason)
        yield Usage(prompt=_size(request), completion=spoken, reasoning=thought)

    async def _breathe(self) -> None:
        # Nobody speaks like a clock.
        await asyncio.sleep(random.uniform(0.4, 1.6) / self._pace if self._pace else 0)


def _fragments(reasoning: str, text: str, calls: tuple[ToolCall, ...]) -> Iterator[Delta]:
    for match in _TOKEN.finditer(reasoning):
        yield ReasoningDelta(text=match[0])
    for match in _TOKEN.finditer(text):
        yield TextDelta(text=match[0])
    for index, call in enumerate(calls):
        yield ToolCallDelta(index=index, id=call.id, name=call.name)
        for match in _TOKEN.finditer(call.arguments):
            yield ToolCallDelta(index=index, arguments=match[0])


def _size(request: ChatRequest) -> int:
    texts = (getattr(message, "text", "") or getattr(message, "content", "") for message in request.messages)
    return sum(map(len, texts)) // 4
