"""A line that is left while its connection is in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

import pytest

from verbatim_client import line
from verbatim_client.errors import Refused
from verbatim_client.frames import News
from verbatim_client.line import Line


class Broken:
    """A connection that says nothing, and breaks over its first goodbye."""

    has_broken = False

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __aenter__(self) -> Broken:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not Broken.has_broken:
            Broken.has_broken = True
            raise ConnectionResetError("over the goodbye")

    async def recv(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError


class End:
    """Whose line it is."""

    refused: Refused | None = None
    is_settled = False

    def __init__(self) -> None:
        self.stands = asyncio.Event()

    def address(self) -> str:
        return "ws://nowhere"

    def begin(self) -> Iterable[str]:
        return ()

    def take(self, text: str | bytes) -> None:
        """Nothing comes."""

    def start_over(self) -> None:
        """Never."""

    def tell(self, news: News) -> None:
        self.stands.set()


async def test_who_leaves_does_not_come_back_though_the_goodbye_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "connect", Broken)
    end = End()
    keeping = asyncio.create_task(Line(end, key="", patience=300, silence=20).keep())
    await end.stands.wait()

    keeping.cancel()
    await asyncio.wait({keeping}, timeout=10)

    assert keeping.cancelled()
