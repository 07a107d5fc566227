"""The body of a streamed answer: aiohttp's reader, without what that does for every chunk and nobody here needs."""

from __future__ import annotations

from aiohttp import ClientError, ClientResponse, StreamReader
from aiohttp.http import HttpProcessingError


class Body(StreamReader):
    """A reader of whatever has come.

    aiohttp's own notes where each of HTTP's chunks ends, and after every read has its parser look for more and the
    transport resume; with one token a chunk that is as much work as the reading. Here the connection goes on only if
    it was paused. The names with an underscore are aiohttp's own: look here when its version changes.
    """

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Nobody asks where a chunk began."""

    def end_http_chunk_receiving(self) -> None:
        """Nobody asks where a chunk ended."""

    async def readany(self) -> bytes:
        """What has come, as soon as anything has. Nothing at the end, which is also where the connection broke: then
        `exception()` tells it."""
        buffer = self._buffer
        while not buffer and not self._eof and self._exception is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except (ClientError, ConnectionError, HttpProcessingError):
                break
        chunk = buffer.popleft() if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self._size = 0
        if self._protocol._reading_paused:
            self._protocol.resume_reading()
        return chunk


def body_of(response: ClientResponse) -> StreamReader:
    """The body of a response of which nothing has been read. aiohttp's parser has made its reader and goes on feeding
    it, so it cannot be replaced: it becomes a `Body` where it is."""
    if type(response.content) is StreamReader:
        response.content.__class__ = Body
    return response.content
