"""SIGTERM and Ctrl-C in mid-text: nothing is lost, viewers are sent on, the process ends in time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from signal import SIGTERM
from typing import Any, NamedTuple

import aiohttp
import pytest

from streaming.frames import Error
from tests.client import Client, Socket, caught_up, ended, says
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, Kind, NewSite, ServerProcess, Site
from tests.system.callers import COUNTING

GOING_AWAY = 1012
SHORT: Script = [{"words": 200, "rate": 100}]
EAGER = {"LEASE": 3.0, "LEASE_RENEWAL": 1.0}
"""A process that soon and often looks for turns that nobody keeps."""
LONG: Script = [{"words": 5000, "rate": 100}]

Signal = Callable[[ServerProcess], None]


class Ending(NamedTuple):
    """How a server ended: the close code of its viewer, its exit code, and the seconds from the (last) signal."""

    close_code: int | None
    exit_code: int
    seconds: float


async def watch(server: ServerProcess, viewer: Socket, *, since: float) -> Ending:
    """See a server that was told to end to its end."""

    async def gone() -> tuple[int, float]:
        code = await asyncio.to_thread(server.wait)
        return code, time.monotonic() - since

    close_code, (exit_code, seconds) = await asyncio.gather(viewer.until_closed(), gone())
    assert exit_code in (0, -SIGTERM), "uvicorn passes SIGTERM on once it is done"
    assert not [line for line in server.lines if "Traceback" in line or "took too long" in line], server.lines
    return Ending(close_code, exit_code, seconds)


async def is_ready(url: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ready/") as response:
        return response.status == 200


@asynccontextmanager
async def idle_connection(server: ServerProcess) -> AsyncIterator[None]:
    """A browser between two requests."""
    async with aiohttp.ClientSession() as browser:
        async with browser.get(f"{server.url}/live/") as response:
            await response.read()
        yield


async def drains(server: ServerProcess) -> None:
    """Until the server says that it takes nothing new. Every round is a request, so it does not spin."""
    async with asyncio.timeout(5):
        while await is_ready(server.url):
            pass


async def read(client: Client, conversation: str) -> Folded:
    """What a fresh viewer gets."""
    async with client.socket(conversation) as fresh:
        await fresh.until(caught_up)
    return fresh.folded


def texts(folded: Folded) -> list[str]:
    return [event["data"]["text"] for event in folded.events.values() if event["kind"] == "assistant_message"]


def ends(folded: Folded) -> list[tuple[str, str | None]]:
    """Status and error code of every end."""
    found: list[dict[str, Any]] = [e["data"] for e in folded.events.values() if e["kind"] == "turn_ended"]
    return [(end["status"], (end["error"] or {}).get("code")) for end in found]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Say something in the test's report."""

    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return tell


async def test_sigterm_lets_an_answer_finish_and_takes_nothing_new(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, tell: Callable[[str], None]
) -> None:
    """R8, R20: a hop that ends within the drain time is not asked twice."""
    provider.script(SHORT)
    site, key = new_site()
    with site.start(kind) as server:
        client = Client(server.url, key=key)
        conversation, other = await client.new_conversation(), await client.new_conversation()
        async with client.socket(conversation) as viewer, client.socket(other) as second:
            await viewer.send("Speak.")
            await viewer.until(says("w0020"))
            assert await is_ready(server.url)

            server.terminate()
            since = time.monotonic()
            await drains(server)
            await second.send("Me too!")
            refused = await second.answer()
            ending = await watch(server, viewer, since=since)

    assert isinstance(refused, Error)
    assert refused.code == "draining"
    assert ending.close_code == GOING_AWAY
    assert ends(viewer.folded) == [("completed", None)]
    assert texts(viewer.folded)[0].endswith(" w0200 ")
    with site.start(kind) as server:
        fresh = await read(Client(server.url, key=key), conversation)
    assert fresh.events == viewer.folded.events
    assert len(provider.log()) == 1
    tell(f"{kind}: exit {ending.exit_code}, {ending.seconds:.2f} s after SIGTERM, 1.8 s of which the answer took")


@pytest.mark.alone
@pytest.mark.parametrize(
    ("signal", "within"), [(ServerProcess.terminate, 3.0), (ServerProcess.interrupt, 2.0)], ids=["SIGTERM", "SIGINT"]
)
async def test_an_answer_that_must_be_broken_off_loses_nothing_and_goes_on_after_the_restart(
    kind: Kind, signal: Signal, within: float, new_site: NewSite, provider: ProviderProcess,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """R8, R20, A2.7, A2.26g: every word that was shown is stored; the turn is released, which needs no lease to lapse,
    and who comes back sees it begun again and ended."""
    provider.script([{"text": "All well."}], queue=[LONG, [{"text": "All of it."}]])
    site, key = new_site()
    with site.start(kind, chat={"DRAIN": 1.0}) as server:
        client = Client(server.url, key=key)
        conversation = await client.new_conversation()
        async with client.socket(conversation) as viewer, idle_connection(server):
            await viewer.send("Speak.")
            await viewer.until(says("w0050"))

            signal(server)
            ending = await watch(server, viewer, since=time.monotonic())

    tell(f"{kind}: exit {ending.exit_code}, {ending.seconds:.2f} s after {signal.__name__}")
    assert ending.close_code == GOING_AWAY
    assert ending.seconds <= within
    assert ends(viewer.folded) == []
    assert "w0050 " in viewer.folded.draft
    stored = await asyncio.to_thread(site.manage, "shell", "-v", "0", "-c", TELL_THE_DRAFT)
    assert stored == viewer.folded.draft
    with site.start(kind, port=server.port):
        async with client.socket(conversation, folded=viewer.folded.reconnected()) as viewer:
            await viewer.until(ended())
            await viewer.send("And now?")
            await viewer.until(ended(2))
        assert (await read(client, conversation)).events == viewer.folded.events
    assert texts(viewer.folded) == ["All of it.", "All well."]
    assert [entry["ended"] for entry in provider.log()] == ["closed by client", "completed", "completed"]


TELL_THE_DRAFT = """
from history.models import DeltaBatch
print("".join(DeltaBatch.objects.order_by("start").values_list("text", flat=True)), end="")
"""


@pytest.mark.alone
@pytest.mark.parametrize("signal", [ServerProcess.terminate, ServerProcess.interrupt], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_ends_the_process_at_once(
    kind: Kind, signal: Signal, new_site: NewSite, provider: ProviderProcess, tell: Callable[[str], None]
) -> None:
    """However much patience the drain still has."""
    provider.script(LONG)
    site, key = new_site()
    with site.start(kind, chat={"DRAIN": 30.0}) as server:
        client = Client(server.url, key=key)
        async with client.socket(await client.new_conversation()) as viewer:
            await viewer.send("Speak.")
            await viewer.until(says("w0050"))
            server.terminate()
            await drains(server)
            await viewer.until(says("w0100"))

            signal(server)
            ending = await watch(server, viewer, since=time.monotonic())

    tell(f"{kind}: exit {ending.exit_code}, {ending.seconds:.2f} s after a second signal, {signal.__name__}")
    assert ending.seconds <= 2.0


async def test_a_request_that_hangs_does_not_keep_a_server_that_was_told_to_end(kind: Kind, new_site: NewSite) -> None:
    """R20: nor does uvicorn wait for it, which by itself would."""
    site, _ = new_site()
    with site.start(kind, chat={"DRAIN": 0.0}, application=COUNTING) as server:
        async with aiohttp.ClientSession() as caller, caller.get(f"{server.url}/count/?viewers=1000") as answer:
            assert answer.status == 200, "it has begun, and never ends"
            server.terminate()
            exit_code = await asyncio.to_thread(server.wait)

    assert exit_code in (0, -SIGTERM)


async def test_the_turns_of_a_living_process_are_left_alone_whatever_happens_to_its_neighbours(
    new_site: NewSite, provider: ProviderProcess
) -> None:
    """R10: neighbours on one database are killed, terminated and interrupted, and one comes back and looks for what was
    left; their turns go on elsewhere within 15 s, the survivor's goes on to its own end, and is asked once."""
    survives: dict[str, Script] = {
        f"survives-{kind}": [{"words": 199, "rate": 20}, {"gate": f"survives-{kind}"}, {"words": 1, "start": 200}]
        for kind in KINDS
    }
    broken: dict[str, Script] = {kind: [{"words": 60, "rate": 100}, {"gate": kind}, {"text": "."}] for kind in KINDS}
    provider.script(named={**broken, **survives})

    await asyncio.gather(
        survive(*new_site(), kind="daphne", neighbours="uvicorn", provider=provider),
        survive(*new_site(), kind="uvicorn", neighbours="daphne", provider=provider),
    )

    assert questions(provider.log()) == {
        "[[daphne]]": 6,
        "[[uvicorn]]": 6,
        "[[survives-daphne]]": 1,
        "[[survives-uvicorn]]": 1,
    }


async def survive(site: Site, key: str, *, kind: Kind, neighbours: Kind, provider: ProviderProcess) -> None:
    with await asyncio.to_thread(site.start, kind) as survivor, ExitStack() as others:
        client = Client(survivor.url, key=key)
        mine = await client.new_conversation()
        async with client.socket(mine) as viewer:
            await viewer.send(f"[[survives-{kind}]]")
            watching = asyncio.create_task(viewer.until(ended(), seconds=120))
            broken = []
            for asked, signal in enumerate((ServerProcess.terminate, ServerProcess.interrupt, ServerProcess.kill), 1):
                server = await asyncio.to_thread(site.start, neighbours, chat={"DRAIN": 0.5})
                broken.append(await break_off(others.enter_context(server), signal, key=key))
                if signal is not ServerProcess.kill:  # it is nobody's now, and must not be the next neighbour's
                    await until_asked(provider, neighbours, times=2 * asked)
            others.enter_context(await asyncio.to_thread(site.start, neighbours, chat=EAGER))
            await asyncio.to_thread(provider.open_gate, neighbours)
            for conversation, seen in broken:
                async with client.socket(conversation, folded=seen.reconnected()) as moved:
                    await moved.until(ended(), seconds=15)
                assert ends(moved.folded) == [("completed", None)]
                assert texts(moved.folded) == ["".join(f"w{number:04} " for number in range(1, 61)) + "."]
            assert not watching.done(), "the survivor outlives what is said about it"
            await asyncio.to_thread(provider.open_gate, f"survives-{kind}")
            await watching

        assert ends(viewer.folded) == [("completed", None)]
        assert texts(viewer.folded) == ["".join(f"w{number:04} " for number in range(1, 201))]
        assert (await read(client, mine)).events == viewer.folded.events


async def until_asked(provider: ProviderProcess, kind: Kind, *, times: int) -> None:
    """Wait until the model was asked so often for what that neighbour's turns say."""
    count = 0
    async with asyncio.timeout(15):
        while questions(log := await provider.requests_async(count))[f"[[{kind}]]"] < times:
            count = len(log) + 1


def questions(log: list[dict[str, Any]]) -> Counter[str]:
    """How often which last message came to the provider."""
    return Counter(entry["body"]["messages"][-1]["content"] for entry in log)


async def break_off(server: ServerProcess, signal: Signal, *, key: str) -> tuple[str, Folded]:
    """A server is ended in mid-text; the conversation, and what its viewer had."""
    client = Client(server.url, key=key)
    conversation = await client.new_conversation()
    async with client.socket(conversation) as viewer:
        await viewer.send(f"[[{server.kind}]]")
        await viewer.until(says("w0050"))
        await asyncio.to_thread(signal, server)
        await asyncio.gather(viewer.until_closed(), asyncio.to_thread(server.wait))
    return conversation, viewer.folded


QUEUE_A_TURN = """
from django.contrib.auth import get_user_model
from access.principals import Principal
from history.conversations import create
from streaming.orders import Order
from streaming.turns import start_turn
user = get_user_model().objects.get(username="ada")
conversation = create(user.pk)
start_turn(Principal(user_id=user.pk), conversation.pk, Order(text="Is anybody there?"))
print(conversation.pk)
"""


async def test_a_turn_that_was_left_in_the_queue_is_launched_by_a_living_process(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """Where it was ordered no engine runs: a shell, or a process that died before it began."""
    site, key = new_site()
    with site.start(kind, chat=EAGER) as server:
        client = Client(server.url, key=key)
        assert await is_ready(server.url)  # daphne starts the engine with the first request

        conversation = (await asyncio.to_thread(site.manage, "shell", "-v", "0", "-c", QUEUE_A_TURN)).split()[-1]
        async with client.socket(conversation) as viewer:
            await viewer.until(ended(), seconds=15)

    assert ends(viewer.folded) == [("completed", None)]
    assert len(provider.log()) == 1
