"""Those who follow a conversation inside this process: callbacks, and iterators at their own pace."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from verbatim_client.errors import VerbatimError
from verbatim_client.frames import Accepted, Delta, Error, Event, Frame, Heartbeat, News, Pong

logger = logging.getLogger(__name__)
N = TypeVar("N", bound=News)
BESIDE = (Accepted, Error, Heartbeat, Pong)
"""Frames that are not about what happens in the conversation; only callbacks hear of them."""
LONGEST = 4_096
"""Up to how many code points the deltas are joined that somebody slow has not taken yet."""


class Listeners:
    """Callbacks, by what they want to hear."""

    def __init__(self) -> None:
        self._wanted: list[tuple[type[News], Callable[[News], object]]] = []

    def add(self, kind: type[N], callback: Callable[[N], object]) -> Callable[[], None]:
        """Have it called with all news of that kind; what ends this."""
        entry = (kind, _of(kind, callback))
        self._wanted.append(entry)

        def remove() -> None:
            if entry in self._wanted:
                self._wanted.remove(entry)

        return remove

    def tell(self, news: News) -> None:
        """Call them. What they raise hurts nobody."""
        for kind, callback in list(self._wanted):
            if isinstance(news, kind):
                try:
                    callback(news)
                except Exception:  # foreign callbacks
                    logger.exception("a callback for %s failed", kind.__name__)


def _of(kind: type[N], callback: Callable[[N], object]) -> Callable[[News], object]:
    return lambda news: callback(news) if isinstance(news, kind) else None


class Follower(AsyncIterator[Frame]):
    """Frames for one reader, however slow: deltas that wait for it are joined. Of a turn, only what is about it."""

    def __init__(self, first: Iterable[Frame], *, turn: str | None) -> None:
        self._turn = turn
        self._frames: deque[Frame] = deque(frame for frame in first if self._wants(frame))
        self._more = asyncio.Event()
        self._error: VerbatimError | None = None
        self._is_over = False

    def tell(self, frame: Frame) -> None:
        """There is more."""
        if not self._wants(frame):
            return
        last = self._frames[-1] if self._frames else None
        if isinstance(last, Delta) and isinstance(frame, Delta) and _goes_on(last, frame):
            self._frames[-1] = replace(last, text=last.text + frame.text, cursor=frame.cursor)
        else:
            self._frames.append(frame)
        self._more.set()

    def end(self, error: VerbatimError) -> None:
        """There will not be any more."""
        self._error = error
        self._more.set()

    async def __anext__(self) -> Frame:
        """The next frame. Raises what the conversation ended with."""
        if self._is_over:
            raise StopAsyncIteration
        while not self._frames:
            if self._error is not None:
                raise self._error
            self._more.clear()
            await self._more.wait()
        frame = self._frames.popleft()
        self._is_over = self._turn is not None and isinstance(frame, Event) and frame.kind == "turn_ended"
        return frame

    def _wants(self, frame: Frame) -> bool:
        if isinstance(frame, BESIDE):
            return False
        return self._turn is None or not isinstance(frame, Event | Delta) or frame.turn == self._turn


def _goes_on(last: Delta, frame: Delta) -> bool:
    joined = ("turn", "attempt", "hop", "channel", "index", "name")
    return (
        len(last.text) < LONGEST
        and frame.offset == last.offset + len(last.text)
        and all(getattr(last, name) == getattr(frame, name) for name in joined)
    )
