"""Stats move while a turn runs, are right after a disconnect, and never lag behind what is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from tests.verbatim_client.scripted import ID, ScriptedSite, event, saying, scripted
from verbatim_client import AsyncRemoteConversation, Connected, Estimate, Event, Totals, Usage
from verbatim_client.following import Listeners
from verbatim_client.frames import Frame, parse
from verbatim_client.state import State

AGENT = {
    "model": "claude-3-5-sonnet-latest", "calls": 3, "prompt": 900, "completion": 80, "cached": 5, "reasoning": 7,
    "estimated": 1, "cost": "0.00123000", "context_window": 1000, "context_used": 250, "latency_ms": 1840,
    "first_token_ms": None, "tokens_per_second": 43.5, "from_the_future": True,
}  # fmt: skip


def snapshot(calls: int, *, cost: str | None = None) -> dict[str, Any]:
    totals = {"calls": calls, "prompt": 10 * calls, "cost": cost}
    return {"usage_id": "agent", "usage": {"agent": {**totals, "model": "m"}}, "turn": totals, "conversation": totals}


def estimate(**fields: Any) -> Frame:
    known = {"cursor": "1.0", "turn": "t", "attempt": 1, "hop": 0, "usage_id": "agent", "completion": 9}
    return parse(json.dumps({"type": "estimate", **known, **fields}))


def stated(*frames: dict[str, Any] | Frame) -> State:
    state = State()
    for frame in frames:
        state.take(frame if isinstance(frame, Frame) else parse(json.dumps(frame)))
    return state


def test_a_snapshot_says_for_each_usage_id_what_it_has_used() -> None:
    both = {"agent": AGENT, "title": {"model": "claude-3-5-sonnet-latest", "calls": 1}}
    state = stated(
        event(1, "stats", usage=both, turn={"calls": 2, "cost": None}, turn_id="t", conversation={"calls": 4})
    )

    agent, title = state.stats.usage["agent"], state.stats.usage["title"]
    assert (agent.calls, agent.prompt, agent.completion, agent.cached, agent.reasoning) == (3, 900, 80, 5, 7)
    assert (agent.estimated, agent.cost, agent.context_share) == (1, Decimal("0.00123"), 0.25)
    assert (agent.latency_ms, agent.first_token_ms, agent.tokens_per_second) == (1840, None, 43.5)
    assert title == Usage(model="claude-3-5-sonnet-latest", calls=1)
    assert title.context_share is None
    assert (state.stats.turn, state.stats.turn_id) == (Totals(calls=2), "t")
    assert state.stats.conversation.calls == 4


def test_snapshots_replace_each_other_and_are_never_added_up() -> None:
    state = stated(event(1, "stats", **snapshot(1, cost="0.1")), event(2, "stats", **snapshot(2, cost="0.3")))

    assert (state.stats.conversation.calls, state.stats.cost) == (2, Decimal("0.3"))


def test_an_estimate_is_added_until_the_call_is_counted_or_over() -> None:
    counted = event(1, "stats", **snapshot(1, cost="0.1"))
    during = stated(counted, estimate(cost="0.02"))
    ends = [event(2, "stats", **snapshot(2, cost="0.11")), event(2, "turn_restarted"), event(2, "turn_ended")]

    assert during.stats.estimate is not None
    assert (during.stats.estimate.completion, during.stats.cost) == (9, Decimal("0.12"))
    after = [stated(counted, estimate(cost="0.02"), end).stats for end in ends]
    assert [stats.estimate for stats in after] == [None] * 3
    assert [str(stats.cost) for stats in after] == ["0.11", "0.1", "0.1"]
    assert stated(estimate()).stats.cost is None


def test_the_state_is_what_was_said_last_of_each_key() -> None:
    changes = [("title", "Hello"), ("status", "running"), ("title", "Hello!"), ("from_the_future", [1])]
    frames = [{"type": "state", "cursor": "1.0", "key": key, "value": value} for key, value in changes]

    state = stated(*frames, {"type": "state", "cursor": "1.0", "key": "stats", "value": snapshot(7)})

    assert state.values == {"title": "Hello!", "status": "running", "from_the_future": [1]}
    assert state.stats.conversation.calls == 7


async def test_stats_are_right_after_a_disconnect_and_whoever_is_told_sees_what_the_log_says() -> None:
    frames = [
        event(1, "user_message"),
        event(2, "stats", **snapshot(1)),
        event(3, "completion_log", usage_id="agent", filename="a.json"),
        event(4, "stats", **snapshot(2)),
        event(5, "completion_log", usage_id="agent", filename="b.json"),
    ]

    async def says(site: ScriptedSite, connection: Any) -> None:
        if len(site.handshakes) > 1:
            await saying(*frames)(site, connection)
            return
        await saying(*frames[:1])(site, connection)
        await connection.send(json.dumps(frames[1]))
        await connection.send(json.dumps(frames[2]))
        await connection.send(json.dumps({"type": "estimate", **vars_of(estimate())}))
        await connection.close(1012)

    seen: list[tuple[str, int]] = []
    guessed: list[Estimate | None] = []
    async with scripted(says) as site:
        remote = AsyncRemoteConversation(site.url, key="k", conversation=ID)
        remote.on(Event, lambda event: seen.append((event.kind, remote.stats.conversation.calls)))
        remote.on(Connected, lambda _: guessed.append(remote.stats.estimate))
        async with remote:
            async for frame in remote.frames(after=0):
                if isinstance(frame, Event) and frame.seq == 5:
                    break

        assert site.asked[-1].endswith("?after=3.0")
        assert (remote.stats.conversation.calls, remote.stats.estimate) == (2, None)
        assert guessed == [None, None]
        assert seen[1:] == [("stats", 1), ("completion_log", 1), ("stats", 2), ("completion_log", 2)]


def test_a_callback_that_was_taken_away_hears_no_more() -> None:
    heard: list[str] = []
    listeners = Listeners()
    remove = listeners.add(Event, lambda event: heard.append(event.kind))
    listeners.tell(parse(json.dumps(event(1, "stats"))))

    remove()
    remove()  # is harmless
    listeners.tell(parse(json.dumps(event(2, "stats"))))

    assert heard == ["stats"]


def vars_of(frame: Any) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in frame.__dataclass_fields__}
