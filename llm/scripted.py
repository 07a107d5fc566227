"""A model that says what a test tells it to: a real `ChatModel`, without network, that keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TypeAlias

from llm.types import ChatRequest, Delta, Finish, TextDelta

Step: TypeAlias = Delta | BaseException | asyncio.Event
"""What to say, what to raise, or what to wait for."""


class ScriptExhausted(AssertionError):
    """The model was asked more often than the script has replies."""


class ScriptedModel:
    """Gives one reply of the script per call, in order."""

    def __init__(self, replies: Iterable[Sequence[Step]]) -> None:
        self._replies = list(replies)
        self.requests: list[ChatRequest] = []
        self.endings: list[str] = []
        """Per ended call: `completed`, `closed` (by its reader), or the name of the exception it raised."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The next reply, exactly as written: a script without `Finish` just ends."""
        self.requests.append(request)
        if len(self.requests) > len(self._replies):
            raise ScriptExhausted(f"call {len(self.requests)}, but the script has {len(self._replies)} replies")
        ending = "completed"
        try:
            for step in self._replies[len(self.requests) - 1]:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    yield step
        except (GeneratorExit, asyncio.CancelledError):
            ending = "closed"
            raise
        except BaseException as error:
            ending = type(error).__name__
            raise
        finally:
            self.endings.append(ending)


def says(*fragments: str, reason: str = "stop") -> tuple[Delta, ...]:
    """A reply of these fragments of text, properly finished."""
    return (*(TextDelta(text=fragment) for fragment in fragments), Finish(reason=reason))
