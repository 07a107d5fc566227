"""Turns that are each held at one state when the process that runs them is lost, and what must become of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from tests.client import Client
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.system.cluster import Cluster, scaled
from tests.system.held import kinds, nobody_writes
from tests.system.viewers import Viewer
from tests.system.watched_tools import Workshop

TOOLS = ["tests.system.watched_tools.once", "tests.system.watched_tools.again"]
WORDS = scaled(900, 300)
SPEECH = "".join(f"w{number:04} " for number in range(1, WORDS + 1))


class Mishap(NamedTuple):
    """A state of a turn, by its name, and what is right afterwards.

    `asked`: how often the provider is asked for each hop; `begun`: how often each piece of work is begun; `errors`: for
    each result whether it is an error."""

    name: str
    text: list[str]
    asked: list[int]
    begun: Mapping[str, int] = {}
    errors: Sequence[bool] = ()
    status: str = "completed"


MISHAPS = (
    Mishap("text", ["Once upon a time."], [2]),
    Mishap("speech", [SPEECH], [2]),
    Mishap("tool", ["Let me see.", "Seen."], [1, 1], {"tool-quick": 1, "tool-held": 1}, [False, True]),
    Mishap("idempotent", ["Again.", "Done."], [1, 1], {"idempotent-held": 2}, [False]),
    Mishap("between", ["First.", "Then."], [1, 2], {"between-quick": 1}, [False]),
    Mishap("compaction", ["Nearly done."], [2]),
    Mishap("stopping", ["Once upon"], [1], status="cancelled"),
)


def call(tool: str, work: str, *, index: int, port: int) -> dict[str, Any]:
    """A step that calls a watched tool."""
    arguments = json.dumps({"port": port, "name": work})
    return {"tool": {"index": index, "id": f"call-{index}", "name": tool, "arguments": arguments}}


def scripts(port: int) -> dict[str, Script]:
    """What the provider says, by the name of the mishap; where it is held, there is a gate of that name."""

    def calls(said: str, *works: tuple[str, str]) -> list[dict[str, Any]]:
        steps = [call(tool, work, index=index, port=port) for index, (tool, work) in enumerate(works)]
        return [{"text": said}, *steps]

    return {
        "text": [{"text": "Once upon"}, {"gate": "text"}, {"text": " a time."}],
        "speech": [{"words": WORDS, "rate": 60}],
        "tool": [calls("Let me see.", ("once", "tool-quick"), ("once", "tool-held")), [{"text": "Seen."}]],
        "idempotent": [calls("Again.", ("again", "idempotent-held")), [{"text": "Done."}]],
        "between": [calls("First.", ("once", "between-quick")), [{"gate": "between"}, {"text": "Then."}]],
        "compaction": [{"text": "Nearly"}, {"gate": "compaction"}, {"text": " done."}],
        "stopping": [{"text": "Once upon"}, {"gate": "stopping"}],
    }


class Asked(NamedTuple):
    """A turn that meets its mishap, and who looks on: at the process that is lost, at another one, and one who is
    offline when it happens."""

    mishap: Mishap
    conversation: str
    turn: str
    here: Viewer
    there: Viewer
    away: Viewer


async def all_in_their_states(
    mishaps: Iterable[Mishap], here: Client, there: Client, *, workshop: Workshop, provider: ProviderProcess
) -> list[Asked]:
    """All turns run `here`, each as far as its mishap; the one that is talking is begun last."""
    held = [mishap for mishap in mishaps if mishap.name != "speech"]
    talking = [mishap for mishap in mishaps if mishap.name == "speech"]
    asked: list[Asked] = []
    for some in (held, talking):
        asked += await asyncio.gather(*(ask(one, here, there, workshop=workshop, provider=provider) for one in some))
    return asked


async def ask(mishap: Mishap, here: Client, there: Client, *, workshop: Workshop, provider: ProviderProcess) -> Asked:
    """Have it asked `here`, and come to its state."""
    conversation = await here.new_conversation()
    viewers = [await Viewer(conversation).go_on(client) for client in (here, there, there)]
    await viewers[0].send(f"[[{mishap.name}]]")
    for viewer in viewers:
        await viewer.until(lambda folded: bool(folded.events))
    await _come_to(mishap, viewers, workshop=workshop, provider=provider)
    await viewers[2].cut()
    return Asked(mishap, conversation, str(viewers[0].folded.events[1]["turn"]), *viewers)


async def _come_to(mishap: Mishap, viewers: list[Viewer], *, workshop: Workshop, provider: ProviderProcess) -> None:
    async def all_see(seen: Callable[[Folded], bool]) -> None:
        await asyncio.gather(*(viewer.until(seen) for viewer in viewers))

    match mishap.name:
        case "text" | "stopping":
            await all_see(lambda folded: folded.draft == "Once upon")
        case "speech":
            await all_see(lambda folded: "w0020" in folded.draft)
        case "compaction":
            await all_see(lambda folded: folded.draft == "Nearly")
        case "tool":
            workshop.let_go("tool-quick")
            await workshop.until_begun("tool-held")
            await all_see(lambda folded: "tool_result" in kinds(folded))
        case "idempotent":
            await workshop.until_begun("idempotent-held")
            await all_see(lambda folded: "assistant_message" in kinds(folded))
        case "between":
            workshop.let_go("between-quick")
            await all_see(lambda folded: "tool_result" in kinds(folded))
            await until_asked(provider, mishap, hop=1)


async def until_asked(provider: ProviderProcess, mishap: Mishap, *, hop: int) -> None:
    """Until the provider has been asked for this hop; every round is a request that waits for one more."""
    seen = 0
    while requests_of(provider.log(), mishap, hop=hop) == 0:
        seen = len(await provider.requests_async(seen + 1))


def requests_of(log: list[dict[str, Any]], mishap: Mishap, *, hop: int) -> int:
    """How often the provider was asked for a hop of the turn that meets this mishap."""
    asked = [entry["body"]["messages"] for entry in log if marker_of(entry) == mishap.name]
    return sum(1 for told in asked if sum(said["role"] == "assistant" for said in told) == hop)


def marker_of(entry: dict[str, Any]) -> str:
    """The name in the question of a request."""
    question = next(said["content"] for said in entry["body"]["messages"] if said["role"] == "user")
    return str(question).strip("[]")


def is_taken_over(folded: Folded) -> bool:
    return bool({"turn_restarted", "turn_ended"} & set(kinds(folded)))


@contextmanager
def locked(cluster: Cluster, conversation: str) -> Iterator[None]:
    """A conversation's row is locked by somebody; on SQLite that is the whole database."""
    url = cluster.site.env["DATABASE_URL"]
    if url.startswith("sqlite"):
        with nobody_writes(cluster.site):
            yield
        return
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1 FROM verbatim_history_conversation WHERE id = %s FOR UPDATE", [conversation])
        yield
        connection.rollback()


async def set_free(provider: ProviderProcess, workshop: Workshop) -> None:
    """Let everything that is held go on, wherever it runs now."""
    for name in ("text", "between", "compaction"):
        await asyncio.to_thread(provider.open_gate, name)
    for work in ("tool-held", "idempotent-held"):
        workshop.let_go(work)


def assert_right(mishap: Mishap, fresh: Folded, *, log: list[dict[str, Any]], begun: dict[str, int]) -> None:
    """The log is as it must be, and nobody was asked and nothing done more often than it may be."""
    events = [(event["kind"], event["data"]) for event in fresh.events.values()]
    ends = [data for kind, data in events if kind == "turn_ended"]
    results = [data for kind, data in events if kind == "tool_result"]
    restarts = [data["attempt"] for kind, data in events if kind == "turn_restarted"]
    assert fresh.runs == []
    assert [data["text"] for kind, data in events if kind == "assistant_message"] == mishap.text
    assert [(end["status"], end["error"]) for end in ends] == [(mishap.status, None)]
    assert [result["is_error"] for result in sorted(results, key=lambda result: result["index"])] == [*mishap.errors]
    assert all(result["content"].startswith("Interrupted") for result in results if result["is_error"])
    assert restarts == ([2] if mishap.status == "completed" else [])
    assert [requests_of(log, mishap, hop=hop) for hop in range(len(mishap.asked))] == mishap.asked
    assert {name: begun[name] for name in mishap.begun} == mishap.begun


def assert_rows(cluster: Cluster, asked: Asked, *, losses: int) -> None:
    """What the tables say: one end, no batch left, its process lost so often."""
    rows = cluster.rows("SELECT status, losses FROM verbatim_history_turn WHERE id = %s", asked.turn)
    ends = cluster.rows(
        "SELECT count(*) FROM verbatim_history_event WHERE turn_id = %s AND kind = 'turn_ended'", asked.turn
    )
    batches = cluster.rows("SELECT count(*) FROM verbatim_history_deltabatch WHERE turn_id = %s", asked.turn)
    expected = losses if asked.mishap.status == "completed" else 0  # one that is being stopped just ends
    assert (rows, ends, batches) == ([(asked.mishap.status, expected)], [(1,)], [(0,)])
