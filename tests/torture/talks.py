"""Conversations as people have them: message after message, over every door, looked at by several, some of them away
at times; some orders are repeated elsewhere, some answers stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from tests.torture import callers, scripts
from tests.torture.callers import AppendingViewer, TextViewer
from tests.torture.clients import PythonClient
from tests.torture.orders import Order, Sending
from tests.torture.records import Asking
from tests.torture.viewers import GONE, NativeViewer, SocketViewer, StreamViewer, Viewer
from tests.torture.world import World

ANSWER = 6.0
"""How long an order on a socket waits for its answer."""
PATIENCE = 60.0
"""How long a turn may take with all that befalls it, before its conversation is left as it is."""
LEAVING = 20.0
"""How long is waited for viewers who have not seen the end before the next conversation begins; they stay."""
TURNS = (3, 6)
THINKS, THINKING = 0.15, (2.0, 8.0)
"""How often nothing is said for a while, and for how long, in seconds."""
REPEATED, CONFLICTING, STOPPED, WAITED_FOR, WATCHED, RUSHED, CHANGED = 0.2, 0.05, 0.15, 0.3, 0.3, 0.1, 0.15
"""How many of the orders are repeated, with other words or the same; how many turns are stopped, waited for as JSON,
watched by a viewer of their own, how many of them others cannot wait for, and in how many the conversation is given
another title, or put away."""
IN_A_RUSH = 3
PLEAS = ("Go on.", "\u05e9\u05dc\u05d5\u05dd \U0001f469\u200d\U0001f680", "e\u0301\u2028…", "\u202eabc\u202c\x85")
REFUSED_FOR_NOW = callers.REFUSED_FOR_NOW


class Talk:
    """One conversation and those who look at it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.viewers: list[Viewer] = []
        self.turns: list[str] = []
        self.orders: dict[str, Order] = {}
        self.conversation = ""
        self.client: PythonClient | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._numbers = iter(range(1, 1_000))

    async def run(self) -> None:
        """All of it. Who has seen the end leaves; who has not, stays until the run ends."""
        self.conversation = await self._open()
        self.socket = SocketViewer(self.world, f"{self.name}-ws", conversation=self.conversation)
        self.look(self.socket)
        other = SocketViewer if self.world.chance.random() < 0.5 else StreamViewer
        self.look(other(self.world, f"{self.name}-second", conversation=self.conversation))
        self.client = PythonClient(self.world, f"{self.name}-python", conversation=self.conversation)
        self._client_runs = self.start(self.client.run())
        for _ in range(self.world.chance.randint(*TURNS)):
            if self.world.is_over:
                break
            if not await self._turn():
                return
            if self.world.chance.random() < THINKS:
                await asyncio.sleep(self.world.chance.uniform(*THINKING))
        await self._leave()

    def look(self, viewer: Viewer) -> None:
        """Have somebody look from now on."""
        self.viewers.append(viewer)
        self.start(viewer.run())

    def start(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Have something done beside the talk."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self.world.tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self.world.tasks.discard)
        return task

    def client_tells(self) -> None:
        """At the end: what the client has, if it has not left."""
        if self.client is not None:
            self.client.tell(left=False)

    def repeat(self, turn: str) -> None:
        """Send the order of a turn again."""
        self.start(self._repeat(self.orders[turn], after=0))

    async def _open(self) -> str:
        while True:
            member = await self.world.somebody()
            try:
                async with (
                    asyncio.timeout(ANSWER),
                    self.world.http.post(
                        f"{member.url}/api/v1/conversations/", headers=self.world.headers, json={}
                    ) as response,
                ):
                    if response.status == 201:
                        return str((await response.json())["id"])
            except GONE:
                pass
            await asyncio.sleep(0.2)

    async def _turn(self) -> bool:
        """One message and its answer; False if there is none."""
        chance = self.world.chance
        order = self._order()
        turn = await self._ask(order, door=chance.choice(("websocket", "websocket", "streaming_chat", "text", "json")))
        if not turn:
            return False
        self._accepted(order, turn)
        self._beside(order, turn)
        return await self.world.ended(turn, patience=PATIENCE)

    def _order(self) -> Order:
        """A message of some kind, which nobody has sent yet."""
        chance = self.world.chance
        script, tag = scripts.one(chance, among=self.world.scripts), f"{self.name}-{next(self._numbers)}"
        text = f"[[{script}]] {tag} {chance.choice(PLEAS)}"
        return Order(uuid4().hex, self.conversation, text, tag, scripts.ENDS.get(script, scripts.COMPLETED))

    def _accepted(self, order: Order, turn: str) -> None:
        if turn not in self.orders:
            self.turns.append(turn)
            self.orders[turn] = order

    def _beside(self, order: Order, turn: str) -> None:
        """What else happens while the answer is written."""
        chance = self.world.chance
        if chance.random() < REPEATED:
            self.start(self._repeat(order, after=chance.uniform(0, 2)))
        if chance.random() < CONFLICTING:
            self.start(self._repeat(replace(order, text=order.text + "!"), after=chance.uniform(0, 2)))
        if chance.random() < RUSHED:
            for _ in range(IN_A_RUSH):
                self.start(self._rush())
        if chance.random() < STOPPED:
            self.start(self._stop(turn, after=chance.uniform(0, 1.5)))
        if chance.random() < WAITED_FOR:
            name = f"{order.tag}-waits"
            self.start(callers.wait(self.world, turn, order=order, name=name))
        if chance.random() < WATCHED:
            self.look(StreamViewer(self.world, f"{order.tag}-sse", conversation=self.conversation, turn=turn))
        if chance.random() < CHANGED:
            fresh = chance.choice(({"title": f"About {order.tag}"}, {"archived": True}, {"archived": False}))
            self.start(self._change(fresh, after=chance.uniform(0, 2)))

    async def _ask(self, order: Order, *, door: str) -> str:
        match door:
            case "websocket":
                return await self._send(order)
            case "json":
                self.start(callers.call(self.world, order, name=f"{order.tag}-json"))
                return await self._seen(order)
            case _:
                viewer = (TextViewer if door == "text" else AppendingViewer)(
                    self.world, f"{order.tag}-{door}", order=order
                )
                self.look(viewer)
                return await viewer.accepted

    async def _seen(self, order: Order) -> str:
        """The turn of an order, as soon as a viewer has seen its message."""
        has_time = self.world.patient(PATIENCE)
        while order.request_id not in self.world.seen and has_time():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return self.world.seen.get(order.request_id, "")

    async def _send(self, order: Order) -> str:
        """Order on the socket until it is accepted, or refused for good."""
        frame = {"type": "send", "request_id": order.request_id, "text": order.text}
        name, has_time = f"{order.tag}-sends", self.world.patient(PATIENCE)
        self.world.note(Asking(viewer=name))
        while has_time():
            if (process := self.socket.process) is None:
                await asyncio.sleep(0.1)
                continue
            sending = Sending(self.world, order, name, "websocket", process)
            answer = await self.socket.order(frame, patience=ANSWER)
            turn, code = answer.get("turn"), answer.get("code")
            sending.answered(turn=None if code else turn, code=code, cached=answer.get("cached", False))
            if answer and code not in REFUSED_FOR_NOW:
                return "" if code else str(turn)
            await asyncio.sleep(0.3)
        return ""

    async def _repeat(self, order: Order, *, after: float) -> None:
        """The same request id again, somewhere, over another door."""
        await asyncio.sleep(after)
        await callers.call(self.world, order, name=f"{order.tag}-again-{uuid4().hex[:4]}")

    async def _rush(self) -> None:
        """One more order, though an answer is being written, again and again until it is accepted."""
        order = self._order()
        if turn := await callers.call(self.world, order, name=f"{order.tag}-rushes"):
            self._accepted(order, turn)

    async def _stop(self, turn: str, *, after: float) -> None:
        await asyncio.sleep(after)
        await callers.stop(self.world, turn, member=await self.world.somebody())

    async def _change(self, fresh: Mapping[str, str | bool], *, after: float) -> None:
        await asyncio.sleep(after)
        if not self.world.is_over:
            await callers.change(self.world, self.conversation, member=await self.world.somebody(), **fresh)

    async def _leave(self) -> None:
        """Those who have seen the last end go while the run goes on. What the others have is looked at in the end."""
        until = time.monotonic() + LEAVING
        staying = [viewer for viewer in self.viewers if isinstance(viewer, NativeViewer) and viewer.turn is None]
        while (staying or self.client is not None) and time.monotonic() < until and not self.world.is_over:
            for viewer in staying:
                if viewer.is_here and viewer.ended >= set(self.turns[-1:]):
                    viewer.leave()
            staying = [viewer for viewer in staying if not viewer.has_left]
            if self.client is not None and self.client.ended >= set(self.turns):
                self._client_leaves(self.client)
            await asyncio.sleep(0.1)

    def _client_leaves(self, client: PythonClient) -> None:
        client.tell(left=True)
        self.client = None
        self._client_runs.cancel()


async def talk_on(world: World, name: str) -> None:
    """One conversation after another until the run is over."""
    number = 0
    while not world.is_over:
        number += 1
        talk = Talk(world, f"{name}{number}")
        world.talks.append(talk)
        await talk.run()
