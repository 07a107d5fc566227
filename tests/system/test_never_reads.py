"""Viewers that read nothing: they cost the server next to nothing, slow nobody, are let go, and miss nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from signal import SIGTERM
from statistics import quantiles
from time import time
from uuid import uuid4

import msgspec
import psutil
import pytest
from daphne.cli import CommandLineInterface
from msgspec import json
from uvicorn import Config
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from streaming.frames import Delta, Event, ServerFrame
from tests.client import Client
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, Kind, NewSite, ServerProcess
from tests.system import lines
from tests.system.callers import COUNTING, STREAMING_CHAT, Caller
from tests.system.cluster import LONG, scaled
from tests.system.held import kinds
from tests.system.stuck import Stuck, StuckCaller, StuckSocket, StuckStream
from tests.system.viewers import Viewer, assert_lawful, fresh_read

MIB = 1 << 20
EACH = 3
"""How many read nothing on each of the three transports."""
PIECE = "All work and no play. " * 186
PIECES = 2_048
"""8 MiB of text: a connection on one machine takes about 3 before it is full."""
GATE = {"gate": "all-are-in"}
BULK: Script = [GATE, *({"text": PIECE} for _ in range(PIECES))]
ANSWER: Script = (
    [GATE, {"words": 100_000, "rate": 400, "stamped": True}]
    if LONG
    else [*BULK, {"words": 1_000, "rate": 400, "stamped": True}]
)
"""In the short form the stuck ones are stuck before the words come whose delay is measured."""
CONVERSATIONS, COMERS = 10, scaled(1_000, 100)
HASTY: dict[Kind, str] = {
    "daphne": "--ping-interval 2 --ping-timeout 3",
    "uvicorn": "--ws-ping-interval 2 --ws-ping-timeout 2",
}
"""Options with which a server soon finds that nobody answers."""
SPARE = 56 * MIB
"""How much more memory a server may need because of them, who have not read more than 72."""


@dataclass
class Heard:
    """What someone heard who reads all the time: the text, and how late each word was, in seconds."""

    text: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    stored: str = ""

    def percentiles(self) -> tuple[float, float]:
        """The median and the 99th of the second half."""
        cuts = quantiles(self.delays[len(self.delays) // 2 :], n=100)  # what comes first has to wait for the bulk
        return cuts[49], cuts[98]

    def word(self, text: str) -> None:
        """More of the answer has come."""
        self.text.append(text)
        now = time()
        self.delays += [now - int(stamp) / 1e6 for _, at, stamp in (w.partition("@") for w in text.split()) if at]


async def listen(client: Client, conversation: str) -> Heard:
    """Read all the time, from now to the end of an answer."""
    heard = Heard()
    async with client.socket(conversation) as socket:
        while not heard.stored:
            match _decoder.decode(await socket.connection.recv()):
                case Delta(text=text):
                    heard.word(text)
                case Event(kind="assistant_message", data=message):
                    heard.stored = message["text"]
    return heard


async def peak(server: ServerProcess, while_running: asyncio.Task[Heard]) -> int:
    """The most memory that the server has, in bytes."""
    process, most = psutil.Process(server.pid), 0
    while not while_running.done():
        most = max(most, process.memory_info().rss)
        await asyncio.wait({while_running}, timeout=0.05)
    return most


@dataclass
class Room:
    """A server with one who listens and several who read nothing, in a conversation for each answer."""

    server: ServerProcess
    client: Client
    provider: ProviderProcess

    def __post_init__(self) -> None:
        self.caller = Caller(self.server.url, key=self.client.headers["Authorization"].removeprefix("Bearer "))

    async def answer(
        self, script: Script, *, stuck: int, meanwhile: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
    ) -> tuple[Heard, int, list[Stuck]]:
        """An answer from its beginning to its end; what was heard, the most memory, and those who read nothing, so
        many on each transport."""
        self.provider.reset()
        self.provider.script(script)
        conversation = await self.client.new_conversation()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen(self.client, conversation))
            deaf = await self._ask(conversation, stuck=stuck, tasks=tasks)
            await self.provider.requests_async(1)
            await self.caller.counted(viewers=1 + (len(deaf) or 1))
            memory = tasks.create_task(peak(self.server, listening))
            await asyncio.to_thread(self.provider.open_gate, "all-are-in")
            await meanwhile()
        return listening.result(), memory.result(), deaf

    async def _ask(self, conversation: str, *, stuck: int, tasks: asyncio.TaskGroup) -> list[Stuck]:
        key = uuid4().hex
        if not stuck:
            tasks.create_task(self.caller.ask(STREAMING_CHAT, "Go on.", key=key, conversation_id=conversation))
        deaf: list[Stuck] = []
        for _ in range(stuck):
            deaf.append(await StuckSocket.opened(self.client, conversation))
            deaf.append(await asyncio.to_thread(StuckStream, self.client, conversation))
            deaf.append(await asyncio.to_thread(partial(StuckCaller, self.client, conversation, key=key)))
        return deaf


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS if LONG else KINDS[:1], indirect=True)
async def test_viewers_that_never_read_cost_little_slow_nobody_and_miss_nothing(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R16."""
    site, key = new_site()
    with site.start(kind, application=COUNTING) as server:
        room = Room(server, Client(server.url, key=key), provider)
        alone, before, _ = await room.answer(ANSWER, stuck=0)
        heard, during, stuck = await room.answer(ANSWER, stuck=EACH)
        texts = await asyncio.gather(*(each.read_on() for each in stuck))

        measured(
            f"{kind}: {before // MIB} MiB, {during // MIB} with {len(stuck)} that read nothing; delays of the one that"
            f" reads, median and p99: {ms(alone)}, with them {ms(heard)}; let go: {sum(each.cut for each in stuck)}"
        )
        assert "".join(heard.text) == heard.stored
        assert set(texts) == {heard.stored}
        assert during - before < SPARE
        for quiet, loud in zip(alone.percentiles(), heard.percentiles(), strict=True):
            assert loud < max(3 * quiet, quiet + 0.1)
        assert not [line for line in server.lines if "Traceback" in line or "took too long" in line]


async def test_who_takes_nothing_for_a_time_is_let_go_and_misses_nothing(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    site, key = new_site()
    with site.start(kind, application=COUNTING, chat={"SEND_TIMEOUT": 2.0}) as server:
        room = Room(server, Client(server.url, key=key), provider)

        async def until_they_are_gone() -> None:
            await room.caller.counted(viewers=1)
            await asyncio.to_thread(provider.open_gate, "they-are-gone")

        script = [*BULK, {"gate": "they-are-gone"}, {"text": "The end."}]
        heard, _, stuck = await room.answer(script, stuck=1, meanwhile=until_they_are_gone)
        texts = await asyncio.gather(*(each.read_on() for each in stuck))

        assert [each.cut for each in stuck] == [True, True, True]
        assert set(texts) == {heard.stored}
        assert len([line for line in server.lines if "taken nothing" in line]) == 3
        assert not [line for line in server.lines if "Traceback" in line or "took too long" in line]


async def test_who_takes_nothing_does_not_keep_a_server_from_ending(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    site, key = new_site()
    with site.start(kind, application=COUNTING) as server:
        room = Room(server, Client(server.url, key=key), provider)
        _, _, stuck = await room.answer(BULK, stuck=1)

        server.terminate()
        code = await asyncio.to_thread(server.wait, 25)

        for each in stuck:
            each.close()
        assert code in (0, -SIGTERM)
        assert not [line for line in server.lines if "Traceback" in line]


async def test_the_connection_behind_what_a_server_hands_over_is_found(kind: Kind, new_site: NewSite) -> None:
    """If this fails, the server has changed: see `streaming.pressure.line_behind`."""
    site, _ = new_site()
    with site.start(kind, application="tests.system.lines:application") as server:
        async with connect(server.url.replace("http", "ws", 1), max_size=None, proxy=None) as socket:
            await socket.recv()
            on_a_socket = json.decode(await socket.recv())
        over_http = json.decode((await Caller(server.url, key="").get("/")).body.strip())

    for found in (on_a_socket, over_http):
        assert found["found"]
        assert found["waits"] == (kind == "uvicorn")
        assert found["before"] < 1_000, "headers, perhaps"
        if kind == "daphne":
            assert found["after"] >= lines.FULL, "its transport has kept it all"


async def test_a_peer_that_is_dead_is_noticed_soon(new_site: NewSite) -> None:
    """R14. It takes what the network keeps for it, and answers no ping."""
    with ExitStack() as stack:
        async with asyncio.TaskGroup() as tasks:
            for kind in KINDS:
                site, key = new_site()
                options = "" if LONG else HASTY[kind]
                server = stack.enter_context(site.start(kind, application=COUNTING, options=options))
                tasks.create_task(die(server, key=key))


def test_what_servers_ship_notices_it_within_a_minute() -> None:
    """What the servers that are tried above may be told in their command lines."""
    daphne = vars(CommandLineInterface().parser.parse_args(["application"]))
    uvicorn = Config("application")

    assert daphne["ping_interval"] + daphne["ping_timeout"] <= 60
    assert (uvicorn.ws_ping_interval or 60) + (uvicorn.ws_ping_timeout or 60) <= 60


async def die(server: ServerProcess, *, key: str) -> None:
    """Open a socket, see that the server has a viewer, do nothing, and see that it has none. Raises `TimeoutError`
    after a minute."""
    client, caller = Client(server.url, key=key), Caller(server.url, key=key)
    dead = await StuckSocket.opened(client, await client.new_conversation())
    assert (await caller.counted(viewers=1))["viewers"] == 1
    assert (await caller.counted(viewers=0))["viewers"] == 0
    dead.close()


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS if LONG else KINDS[:1], indirect=True)
async def test_many_who_come_back_at_once_cost_no_turn_its_lease_and_all_catch_up(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    provider.script([{"text": PIECE}] * 50, named={"long": [{"words": scaled(500, 150), "rate": 50}]})
    site, key = new_site()
    chat = {"LEASE": 3.0, "LEASE_RENEWAL": 0.5, "MAX_TURNS_PER_USER": CONVERSATIONS}
    with site.start(kind, chat=chat) as server, site.start(kind, chat=chat):  # the second takes over what it may
        client = Client(server.url, key=key)
        askers = [Viewer(await client.new_conversation()) for _ in range(CONVERSATIONS)]
        viewers = [Viewer(asker.conversation) for asker in askers for _ in range(COMERS // CONVERSATIONS)]
        await each(stay(viewer, client, turns=0) for viewer in askers)
        for text in ("Tell.", "[[long]]"):
            await each(viewer.send(text) for viewer in askers)
            await each(viewer.until(is_over(1)) for viewer in askers)
        await provider.requests_async(2 * CONVERSATIONS, timeout=60)

        await each(stay(viewer, client, turns=1) for viewer in viewers)
        await each(viewer.cut(goodbye=False) for viewer in viewers)
        await each(stay(viewer, client, turns=2) for viewer in viewers)
        await each(viewer.until(is_over(2)) for viewer in askers)

        fresh = {asker.conversation: await fresh_read(client, asker.conversation) for asker in askers}
        for viewer in (*askers, *viewers):
            await viewer.cut()
            assert_lawful(viewer, fresh[viewer.conversation])
            assert kinds(viewer.folded) == 2 * ["user_message", "assistant_message", "turn_ended"]
    assert len(provider.log()) == 2 * CONVERSATIONS, "no turn was begun again"


async def stay(viewer: Viewer, client: Client, *, turns: int) -> None:
    """Follow until so many turns are over; come back, as clients do, if the server is too busy to let one in."""
    async with asyncio.timeout(180):
        while True:
            with suppress(OSError, WebSocketException):
                await viewer.go_on(client)
                await viewer.until(is_over(turns))
                return


def is_over(turns: int) -> Callable[[Folded], bool]:
    """So many turns are over."""
    return lambda folded: kinds(folded).count("turn_ended") >= turns


async def each(doing: Iterable[Awaitable[object]]) -> None:
    """All at once."""
    await asyncio.gather(*doing)


def ms(heard: Heard) -> str:
    return " and ".join(f"{1000 * seconds:.1f} ms" for seconds in heard.percentiles())


_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
