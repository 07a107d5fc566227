"""`kill -9` at load: what viewers had seen, against what is stored when the server is back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial

from bench.contestants import QUESTION, SOCKETS, Socket, asking, conversations, socket
from bench.load import Viewer, reached, view
from bench.measure import percentile
from bench.measurements.crowd import STREAMS
from bench.measurements.tokens import APART, SETTLING
from bench.runs import Figures, Measurement
from bench.servers import ServerProcess
from bench.stage import Plan, Stage


def measurement(plan: Plan) -> Measurement:
    """On both servers."""
    return Measurement(
        title=f"Text lost by kill -9 while {STREAMS} answers stream",
        cases={contestant.name: partial(measure, contestant=contestant) for contestant in SOCKETS},
    )


async def measure(stage: Stage, *, contestant: Socket) -> Figures:
    """One death."""
    stage.speak()
    site = stage.site()
    with stage.verbatim(contestant.kind, site=site) as server:
        made = await conversations(server, key=stage.key, count=STREAMS)
        viewers = [await view(server.url, socket(conversation, key=stage.key)) for conversation in made]
        await start(viewers)
        await asyncio.sleep(SETTLING + random.uniform(0, 1))
        server.kill()
        await asyncio.gather(*(viewer.closed for viewer in viewers))
    with stage.verbatim(contestant.kind, site=site) as server:
        stored = [await newest(server, conversation, key=stage.key) for conversation in made]
    lost = losses(viewers, stored)
    return {"ms lost p50": percentile(lost, 50), "p99": percentile(lost, 99), "most": max(lost)}


async def start(viewers: Sequence[Viewer]) -> None:
    """Have all of them ask, one after the other, and wait until all answers have begun."""
    for viewer in viewers:
        viewer.say(asking(QUESTION))
        await asyncio.sleep(APART)
    await asyncio.gather(*(viewer.begun for viewer in viewers))


async def newest(server: ServerProcess, conversation: str, *, key: str) -> int:
    """The stamp of the newest word that is stored."""
    viewer, _ = await reached(server.url, socket(conversation, key=key), marker=b'"type":"caught_up"')
    viewer.close()
    return viewer.newest


def losses(viewers: Sequence[Viewer], stored: Sequence[int]) -> list[float]:
    """Of each stream, milliseconds of talk that were seen and are not stored."""
    return [
        max(0.0, (viewer.newest - (kept or viewer.oldest)) / 1e3) for viewer, kept in zip(viewers, stored, strict=True)
    ]
