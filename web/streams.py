"""Responses that are written while their reader reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from django.http import StreamingHttpResponse

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""What keeps proxies from holding a stream back."""


class StreamedResponse(StreamingHttpResponse):
    """A response that closes its generator. Django leaves it to the garbage collector when the client goes while
    something is on its way to it: until then it would still be a viewer."""

    def __init__(self, parts: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(parts, **options)
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self._parts):
            async for part in super().__aiter__():
                yield part
