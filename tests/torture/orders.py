"""What is asked for, and how the answers to an order are recorded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.torture import scripts
from tests.torture.records import Ordered, Waited
from tests.torture.world import OWNER, World


@dataclass(frozen=True)
class Order:
    """A message with the key of its turn."""

    request_id: str
    conversation: str
    text: str
    tag: str
    ends: tuple[str, ...] = scripts.COMPLETED


@dataclass
class Sending:
    """One try of somebody to get an order to a process: made when it begins, recorded when its answer is there."""

    world: World
    order: Order
    viewer: str
    transport: str
    process: str
    began: float = field(default_factory=time.time)

    def answered(
        self, *, turn: str | None = None, code: str | None = None, status: int | None = None, cached: bool = False
    ) -> None:
        """It was accepted, with a turn, or refused, with a code; with neither it was lost."""
        self.world.note(
            Ordered(
                viewer=self.viewer,
                ends=self.order.ends,
                owner=OWNER,
                request_id=self.order.request_id,
                transport=self.transport,
                conversation=self.order.conversation,
                text=self.order.text,
                tag=self.order.tag,
                process=self.process,
                began=self.began,
                outcome="accepted" if turn else "refused" if code else "lost",
                turn=turn,
                cached=cached,
                code=None if turn else code,
                status=status,
            )
        )

    def waited(self, *, turn: str, status: int, body: str) -> None:
        """The response was the whole answer."""
        self.world.note(
            Waited(
                viewer=self.viewer,
                conversation=self.order.conversation,
                turn=turn,
                process=self.process,
                began=self.began,
                status=status,
                body=body,
            )
        )
