"""What the load generator makes of a server's bytes, however they are cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.load import Call, Tally, Viewer, call, reached, view

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
STREAMING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SOCKET = Call(path="/", socket=True)


def word(stamp: int) -> bytes:
    return b"w@%016d " % stamp


def frame(payload: bytes, *, opcode: int = 1) -> bytes:
    """A server's frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big") + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big") + payload


async def shown(asked: Call, *pieces: bytes) -> tuple[Viewer, Tally, bytes]:
    """A viewer who got these pieces from a real server, what was counted, and what it had sent by the end."""
    heard = bytearray()
    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        heard.extend(await reader.read())
        writer.close()
        answered.set()

    tally = Tally()
    tally.on = True
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        viewer = await call(f"http://{host}:{port}", asked, tally=tally)
        await viewer.closed
        await answered.wait()
    return viewer, tally, bytes(heard)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**6])
async def test_words_are_found_in_frames_however_the_bytes_are_cut(size: int) -> None:
    sent = UPGRADED + frame(word(1)) + frame(b"x" * 200 + word(2) + word(3)) + frame(b"y" * 70_000) + frame(word(4))

    viewer, tally, _ = await shown(SOCKET, *(sent[at : at + size] for at in range(0, len(sent), size)))

    assert (len(tally.latencies), tally.frames) == (4, 3)
    assert (viewer.oldest, viewer.newest) == (1, 4)


async def test_words_are_found_in_server_sent_events() -> None:
    events = [b"data: " + word(1) + b"\n\n", b": still here\n\n", b"data: " + word(2) + word(3) + b"\n\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]

    viewer, tally, _ = await shown(Call(path="/"), STREAMING, *chunks)

    assert (len(tally.latencies), tally.frames, viewer.newest) == (3, 2, 3)


async def test_every_byte_is_counted() -> None:
    _, tally, _ = await shown(SOCKET, UPGRADED, frame(word(1)), frame(b"", opcode=9))

    assert tally.bytes == len(UPGRADED + frame(word(1))) + 2


async def test_a_ping_is_answered_with_what_it_brought() -> None:
    _, _, heard = await shown(SOCKET, UPGRADED + frame(b"ping", opcode=9))

    assert heard.endswith(b"\x8a\x84\0\0\0\0ping")


async def test_what_is_said_first_follows_the_handshake() -> None:
    _, _, heard = await shown(Call(path="/", socket=True, says="é" * 100), UPGRADED)

    assert heard.endswith(b"\x81\xfe\x00\xc8\0\0\0\0" + ("é" * 100).encode())


async def served(*pieces: bytes) -> Any:
    """A server that sends these to whoever calls, and goes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(pieces)
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def test_a_refusal_says_what_was_answered() -> None:
    async with await served(b"HTTP/1.1 429 Too Many\r\n\r\nslow down") as server:
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(ConnectionRefusedError, match="/: 429 b'slow down'"):
            await view(f"http://127.0.0.1:{port}", SOCKET)


async def test_who_waits_for_a_frame_gets_its_time_or_hears_that_the_server_is_gone() -> None:
    async with await served(UPGRADED, frame(b"one"), frame(b"two")) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        _, at = await reached(url, SOCKET, marker=b"two")
        with pytest.raises(ConnectionResetError):
            await reached(url, SOCKET, marker=b"three")

    assert at > 0
