"""The body of a streamed answer: what aiohttp's parser feeds comes out, and a paused connection goes on."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientPayloadError, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import TransferEncodingError

from llm.body import Body
from llm.openai import OpenAIModel
from tests.llm.conftest import ask
from tests.provider import ProviderProcess


class Connection(BaseProtocol):
    """Counts how often it is told to go on."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.resumed = 0

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False
        self.resumed += 1


def body_on(connection: Connection) -> StreamReader:
    reader = StreamReader(connection, 8, loop=asyncio.get_running_loop())
    reader.__class__ = Body
    return reader


async def test_whatever_has_come_is_one_chunk() -> None:
    body = body_on(Connection())
    body.feed_data(b"one ")
    body.feed_data(b"two")
    body.feed_eof()

    chunks = [await body.readany(), await body.readany()]

    assert chunks == [b"one two", b""]


async def test_whoever_reads_first_gets_what_comes_later() -> None:
    body = body_on(Connection())
    reading = asyncio.ensure_future(body.readany())
    asyncio.get_running_loop().call_soon(body.feed_data, b"late")

    assert await reading == b"late"


@pytest.mark.parametrize("broken", [ClientPayloadError("broke"), TransferEncodingError("zzz"), ConnectionError()])
async def test_where_the_connection_breaks_a_body_ends_and_tells_why(broken: Exception) -> None:
    """The second is what aiohttp's parser says of a bad chunk where its compiled one is missing."""
    body = body_on(Connection())
    reading = asyncio.ensure_future(body.readany())
    asyncio.get_running_loop().call_soon(body.set_exception, broken)

    assert [await reading, await body.readany()] == [b"", b""]
    assert body.exception() is broken


async def test_what_came_before_the_connection_broke_is_read() -> None:
    body = body_on(Connection())
    body.feed_data(b"last words")
    body.set_exception(ClientPayloadError("broke"))

    assert [await body.readany(), await body.readany()] == [b"last words", b""]


async def test_only_a_connection_that_was_paused_is_told_to_go_on() -> None:
    connection = Connection()
    body = body_on(connection)

    body.feed_data(b"short")
    await body.readany()
    resumed_unpaused = connection.resumed
    body.feed_data(b"more than twice the limit")
    was_paused = connection._reading_paused
    await body.readany()
    body.feed_data(b"once more")
    await body.readany()

    assert (resumed_unpaused, was_paused, connection.resumed) == (0, True, 1)


async def test_an_answer_larger_than_all_buffers_comes_whole(openai: OpenAIModel, provider: ProviderProcess) -> None:
    fragment = "ä" * 400_000
    provider.script([{"text": fragment}] * 20)

    reply = await ask(openai)

    assert reply.text == fragment * 20
