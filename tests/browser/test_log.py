"""The law of the log, in the browser's own code: folding any replay gives what a fresh read gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

Frame = dict[str, Any]
AT = "2026-01-02T03:04:05.000Z"
ENDING = {"assistant_message", "turn_restarted", "turn_ended"}

FOLD = """async (frames) => {
    const { emptyLog, fold, dropUnfinished, snapshot } = await import("/verbatim/log.js");
    const log = emptyLog();
    for (const frame of frames) frame.type === "cut" ? dropUnfinished(log) : fold(log, frame);
    return { ...snapshot(log), cursor: log.cursor, gap: log.gap };
}"""


@dataclass
class Server:
    """A conversation as a server has it, and what it would send to a viewer at any position."""

    events: list[Frame] = field(default_factory=list)
    draft: list[tuple[str, str]] = field(default_factory=list)
    at: dict[str, Any] = field(default_factory=dict)

    def event(self, kind: str, turn: str, **data: Any) -> None:
        if kind in ENDING:
            self.draft = []
        seq = len(self.events) + 1
        frame = {"type": "event", "seq": seq, "kind": kind, "turn": turn, "at": AT, "data": data}
        self.events.append(frame | {"cursor": f"{seq}.0"})

    def say(self, channel: str, text: str, **at: Any) -> None:
        self.at = at
        self.draft.append((channel, text))

    @property
    def length(self) -> int:
        return sum(len(text) for _, text in self.draft)

    def since(self, seq: int, offset: int) -> list[Frame]:
        missed = self.events[seq:]
        if any(event["kind"] in ENDING for event in missed):
            offset = 0
        frames = [dict(event) for event in missed]
        start = 0
        for channel, text in self.draft:
            rest = text[max(0, offset - start) :]
            start += len(text)
            if rest:
                frame = {"type": "delta", "channel": channel, "text": rest, "offset": start - len(rest), **self.at}
                frames.append(frame | {"cursor": f"{len(self.events)}.{start}"})
        return frames


@dataclass
class Viewer:
    """Collects what a viewer is sent while its line is cut, repeated and reset."""

    server: Server
    frames: list[Frame] = field(default_factory=list)
    seq: int = 0
    offset: int = 0

    def look(self) -> None:
        self.frames += self.server.since(self.seq, self.offset)
        self.seq, self.offset = len(self.server.events), self.server.length

    def disturb(self, how: str) -> None:
        match how:
            case "cut":
                self.frames.append({"type": "cut"})
            case "repeat" if self.frames:
                self.frames += [frame for frame in self.frames[-2:] if frame["type"] == "delta"]
            case "noise":
                self.frames += [{"type": "from_the_future", "cursor": "9999.9"}, {"type": "pong"}]
            case "withdraw":
                self.offset = 0
                self.frames.append({"type": "reset", "cursor": f"{self.seq}.0"})
            case "shorten":
                self.offset = min(self.offset, self.server.length) // 2
                self.frames.append({"type": "reset", "cursor": f"{self.seq}.{self.offset}"})
            case "restart":
                self.seq = self.offset = 0
                self.frames.append({"type": "reset", "cursor": "0.0"})


TEXT = st.text(st.sampled_from("abc *`\n😀👩‍👧é́שלום\u2028"), min_size=1, max_size=8)
STEP = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["text", "reasoning"]), TEXT),
    st.tuples(st.just("event"), st.sampled_from(["hop", "restart", "end", "stats"]), st.just("")),
    st.tuples(st.just("look"), st.just(""), st.just("")),
    st.tuples(
        st.just("disturb"),
        st.sampled_from(["cut", "repeat", "noise", "withdraw", "shorten", "restart"]),
        st.just(""),
    ),
)


def play(steps: list[tuple[str, str, str]]) -> tuple[Server, Viewer]:
    """Let the server live through the steps, with one viewer that looks now and then."""
    server = Server()
    viewer = Viewer(server)
    turn, hop, attempt = 0, 0, 1
    server.event("user_message", "t0", text="hello")
    for what, which, text in steps:
        match what, which:
            case "say", _:
                server.say(which, text, turn=f"t{turn}", hop=hop, attempt=attempt)
            case "event", "hop":
                said = "".join(part for channel, part in server.draft if channel == "text")
                server.event("assistant_message", f"t{turn}", hop=hop, text=said)
                hop += 1
            case "event", "restart":
                attempt += 1
                server.event("turn_restarted", f"t{turn}", attempt=attempt, hop=hop, reason="lease")
            case "event", "end":
                server.event("turn_ended", f"t{turn}", status="completed")
                turn, hop, attempt = turn + 1, 0, 1
                server.event("user_message", f"t{turn}", text="again")
            case "event", "stats" if not server.draft:
                server.event("stats", f"t{turn}", tokens=1)
            case "look", _:
                viewer.look()
            case "disturb", _:
                viewer.look()
                viewer.disturb(which)
    viewer.look()
    return server, viewer


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=40))
def test_folding_any_replay_gives_what_a_fresh_read_gives(page: Page, steps: list[tuple[str, str, str]]) -> None:
    server, viewer = play(steps)

    replayed = page.evaluate(FOLD, viewer.frames)
    fresh = page.evaluate(FOLD, server.since(0, 0))

    assert replayed["events"] == fresh["events"]
    assert replayed["draft"] == fresh["draft"]
    assert not replayed["gap"]


def event(seq: int, kind: str, turn: str = "t", **data: Any) -> Frame:
    return {"type": "event", "seq": seq, "cursor": f"{seq}.0", "kind": kind, "turn": turn, "at": AT, "data": data}


def delta(offset: int, text: str, *, channel: str = "text", attempt: int = 1, **more: Any) -> Frame:
    place = {"turn": "t", "hop": 0, "attempt": attempt, "channel": channel, "cursor": f"1.{offset + len(text)}"}
    return {"type": "delta", "offset": offset, "text": text, **place, **more}


def test_a_reset_cuts_the_draft_by_code_points_and_not_inside_an_emoji(page: Page) -> None:
    frames = [
        event(1, "user_message", text="hi"),
        delta(0, "a😀b😀c"),
        {"type": "reset", "cursor": "1.4"},
        delta(4, "!"),
    ]

    assert page.evaluate(FOLD, frames)["draft"]["text"] == "a😀b😀!"


def test_a_reset_to_offset_zero_drops_the_draft(page: Page) -> None:
    frames = [event(1, "user_message", text="hi"), delta(0, "gone"), {"type": "reset", "cursor": "1.0"}]

    assert page.evaluate(FOLD, frames)["draft"] is None


def test_a_reset_to_before_an_event_takes_the_draft_that_followed_it_away_too(page: Page) -> None:
    hop = event(2, "assistant_message", hop=0, text="done")
    frames = [event(1, "user_message", text="hi"), hop, delta(0, "next", hop=1), {"type": "reset", "cursor": "1.2"}]

    log = page.evaluate(FOLD, frames)

    assert (len(log["events"]), log["draft"]) == (1, None)


def test_fragments_of_a_hop_that_is_over_are_dropped(page: Page) -> None:
    hop = event(2, "assistant_message", hop=0, text="done")

    assert page.evaluate(FOLD, [event(1, "user_message", text="hi"), hop, delta(0, "late")])["draft"] is None


def test_fragments_of_an_attempt_that_was_taken_over_are_dropped(page: Page) -> None:
    taken_over = event(2, "turn_restarted", attempt=2, hop=0, reason="lease")
    frames = [
        event(1, "user_message", text="hi"),
        delta(0, "old"),
        taken_over,
        delta(3, "late"),
        delta(0, "new", attempt=2),
    ]

    assert page.evaluate(FOLD, frames)["draft"]["text"] == "new"


def test_a_fragment_that_does_not_fit_asks_for_a_resume_from_where_the_fit_ended(page: Page) -> None:
    frames = [event(1, "user_message", text="hi"), delta(0, "abc"), delta(5, "far")]

    log = page.evaluate(FOLD, frames)

    assert (log["gap"], log["cursor"], log["draft"]["text"]) == (True, "1.3", "abc")


@pytest.mark.parametrize(
    "frame", [{"type": "accepted", "request_id": "r", "turn": "t", "cursor": "7.0"}, {"type": "pong"}]
)
def test_frames_from_beside_the_stream_do_not_move_the_cursor(page: Page, frame: Frame) -> None:
    assert page.evaluate(FOLD, [event(1, "user_message", text="hi"), frame])["cursor"] == "1.0"


CALLS = """async (frames) => {
    const { emptyLog, fold, dropUnfinished } = await import("/verbatim/log.js");
    const log = emptyLog();
    for (const frame of frames) frame.type === "cut" ? dropUnfinished(log) : fold(log, frame);
    return Array.from(log.draft?.calls.entries() ?? [], ([index, { name, text }]) => [index, name, text]);
}"""


def arguments(offset: int, text: str, index: int = 0, name: str | None = None) -> Frame:
    return delta(offset, text, channel="tool_arguments", index=index, name=name)


def test_tool_arguments_are_told_apart_by_their_call(page: Page) -> None:
    frames = [arguments(0, '{"a', name="add"), arguments(0, "{}", 1, "now"), arguments(3, '":1}')]

    assert page.evaluate(CALLS, frames) == [[0, "add", '{"a":1}'], [1, "now", "{}"]]


def test_unfinished_tool_arguments_do_not_survive_a_reconnect_and_their_middle_is_not_taken(page: Page) -> None:
    frames = [arguments(0, '{"a', name="add"), {"type": "cut"}, arguments(3, '":1}', name="add")]

    assert page.evaluate(CALLS, frames) == [[0, "add", ""]]
