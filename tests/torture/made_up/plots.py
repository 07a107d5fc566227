"""What may happen to a turn, with every promise kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tests.torture.made_up.story import LEASE, Turn
from tests.torture.records import Exited

PAUSE = 20.0
Plot: TypeAlias = Callable[[Turn], None]


def plain(turn: Turn) -> None:
    """The model answers."""
    turn.call(6)
    turn.message()
    turn.end()


def named(turn: Turn) -> None:
    """The model answers, and names the conversation if that has no name yet."""
    plain(turn)
    if not any(event["turn"] is None for event in turn.conversation.events):
        turn.name()


def tools(turn: Turn) -> None:
    """The model asks for a tool, then answers."""
    turn.call(3)
    turn.message(tools=["looks_up"])
    execute(turn)
    plain(turn)


def execute(turn: Turn) -> None:
    """The tool runs, and its result is stored."""
    turn.tool("began", process=turn.owner)
    turn.tool("finished", process=turn.owner)
    turn.result()


def killed(turn: Turn) -> None:
    """The process is killed in mid-text."""
    turn.call(6, of=8, ending="closed by client")
    turn.fault("kill", state="mid_text")
    turn.kept(words=5)
    turn.restart()
    plain(turn)


def killed_at_first_word(turn: Turn) -> None:
    """The process is killed when the model has just begun to speak again, and nothing of that is stored yet."""
    turn.call(3)
    turn.message(tools=["looks_up"])
    execute(turn)
    turn.wait(1)
    turn.call(1, of=8, ending="closed by client")
    turn.fault("kill", state="mid_text")
    turn.kept(words=0)
    turn.restart()
    plain(turn)


def killed_in_tool(turn: Turn) -> None:
    """The process is killed while a tool runs, which is run again if that does no harm."""
    turn.call(3)
    turn.message(tools=["looks_up"])
    turn.tool("began", process=turn.owner)
    turn.fault("kill", state="mid_tool")
    turn.restart()
    if turn.idempotent:
        execute(turn)
    else:
        turn.result("Interrupted; it may have taken effect.", is_error=True)
    plain(turn)


def paused(turn: Turn) -> None:
    """The process sleeps for longer than its lease, and wakes up when another one goes on."""
    turn.call(4, of=6, ending="closed by client", lasts=PAUSE + 1)
    turn.fault("sigstop", state="mid_text", lasts=PAUSE)
    turn.restart()
    plain(turn)


def drained(turn: Turn) -> None:
    """The process is told to end; the hop ends in time, and another process runs its tools."""
    turn.call(3, meanwhile=lambda: turn.fault("sigterm", state="mid_text"))
    turn.message(tools=["looks_up"])
    turn.let_go = turn.wait(0.1)
    turn.records.append(Exited(process=turn.owner, code=0, at=turn.let_go))
    turn.restart(after=0.2, reason="released")
    execute(turn)
    plain(turn)


def stopped(turn: Turn) -> None:
    """The turn is stopped in mid-text."""
    turn.call(4, of=6, ending="closed by client", meanwhile=turn.stop)
    turn.message()
    turn.end("cancelled")


def truncated(turn: Turn) -> None:
    """The provider breaks off."""
    turn.call(4, of=6, ending="closed without an end")
    turn.message()
    turn.is_to_end("failed/truncated")
    turn.end("failed", code="truncated")


def given_up(turn: Turn) -> None:
    """Two processes are killed, one after the other; what was stored of the answer is kept."""
    turn.call(6, of=8, ending="closed by client")
    turn.fault("kill", state="mid_text")
    turn.restart()
    turn.call(6, of=8, ending="closed by client")
    turn.fault("kill", state="taken_over")
    turn.draft = turn.kept(words=5)
    turn.wait(LEASE)
    turn.show({"type": "reset"})
    turn.message()
    turn.losses += 1
    turn.end("failed", code="interrupted")


PLOTS: tuple[Plot, ...] = (
    plain,
    named,
    tools,
    killed,
    killed_at_first_word,
    killed_in_tool,
    paused,
    drained,
    stopped,
    truncated,
    given_up,
)
"""What may happen to a turn."""
