"""A turn in lightspeed's words, from frames alone: shapes to the byte, and whatever is cut off goes on where it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.lightspeed.fold import Answer, Style
from chat.lightspeed.frames import AnyFrame, as_sse, as_text
from history.committed import Entry
from history.draft import Draft
from history.events import Kind
from streaming.cursor import Cursor
from streaming.follow import Followed
from streaming.frames import CaughtUp, Delta, Event, Heartbeat, Reset
from streaming.repeats import position_in
from streaming.view import View
from tests.sse import Reader

AT = datetime(2026, 1, 1, tzinfo=UTC)
CONVERSATION = UUID(int=1)
TURN = UUID(int=2)
BEGIN = Cursor(4)
USAGE = {"prompt": 150, "completion": 200}
DEEP = '{"q":' + 5_000 * "[" + 5_000 * "]" + "}"
SOURCE = {"title": "Kubernetes", "url": "https://kubernetes.io/"}


def event(seq: int, kind: str, **data: Any) -> Event:
    return Event(seq=seq, cursor=f"{seq}.0", kind=kind, turn=str(TURN), at="", data=data)


def delta(cursor: str, offset: int, text: str, channel: str = "text") -> Delta:
    return Delta(
        cursor=cursor, turn=str(TURN), attempt=1, hop=0, offset=offset, channel=channel, text=text  # type: ignore[arg-type]
    )  # fmt: skip


def said(text: str, *, hop: int = 0, reasoning: str = "", calls: Sequence[tuple[str, str, str]] = ()) -> dict[str, Any]:
    """The data of a message of the model; it reasons first."""
    return {
        "hop": hop,
        "text": text,
        "reasoning": reasoning,
        "runs": [["reasoning", len(reasoning)], ["text", len(text)]],
        "tool_calls": [{"id": id, "name": name, "arguments": arguments} for id, name, arguments in calls],
    }


def result(hop: int, index: int, content: str, **more: Any) -> dict[str, Any]:
    return {
        "hop": hop,
        "index": index,
        "tool_call_id": f"call_{index + 1}",
        "name": "search",
        "content": content,
        **more,
    }


ASKED = event(5, "user_message", text="What is Kubernetes?")
COMPLETED: list[Followed] = [
    ASKED,
    CaughtUp(cursor="5.0"),
    delta("5.3", 0, "Hm.", "reasoning"),
    delta("5.6", 3, "Kub"),
    Heartbeat(cursor="5.6", at=""),
    delta("5.6", 0, '{"q"', "tool_arguments"),
    event(6, "assistant_message", **said("Kube", reasoning="Hm.", calls=[("call_1", "search", '{"q":"x"}')])),
    event(7, "tool_result", **result(0, 0, "a\nb", sources=[SOURCE, SOURCE])),
    event(8, "assistant_message", **said("rnetes \u2028é.", hop=1)),
    event(9, "turn_ended", status="completed", usage=USAGE),
]


def answer(resume: Cursor | None = None, *, cached: bool = False, style: Style = Style()) -> Answer:  # noqa: B008
    return Answer(TURN, conversation_id=CONVERSATION, begin=BEGIN, resume=resume, cached=cached, style=style)


def sse(frames: Iterable[Followed], told: Answer | None = None) -> list[bytes]:
    """What is sent for these frames, each write alone."""
    told = told or answer()
    return [as_sse(sent) for sent in told.opened()] + [as_sse(sent) for frame in frames for sent in told.take(frame)]


def text(frames: Iterable[Followed], told: Answer | None = None) -> str:
    told = told or answer()
    return b"".join(as_text(sent) for frame in frames for sent in told.take(frame)).decode()


def data(writes: Iterable[bytes]) -> list[str]:
    return [line for write in writes for line in write.decode().split("\n") if line.startswith("data:")]


def test_a_completed_turn_byte_for_byte() -> None:
    wire = sse(COMPLETED)

    assert b"".join(wire).decode() == "".join(
        [
            f'data: {{"event":"start","data":{{"conversation_id":"{CONVERSATION}","request_id":"{TURN}"}}}}\n'
            f"id: {TURN}:4.0\n\n",
            f'data: {{"event":"token","data":{{"id":0,"token":"Kub"}}}}\nid: {TURN}:5.6\n\n',
            ": heartbeat\n",
            f'data: {{"event":"token","data":{{"id":3,"token":"e"}}}}\nid: {TURN}:5.7\n\n',
            'data: {"event":"tool_call","data":{"id":"call_1","name":"search","args":{"q":"x"},"type":"tool_call"}}\n'
            f"id: {TURN}:6.0\n\n",
            'data: {"event":"tool_result","data":{"id":"call_1","status":"success","content":"a\\nb",'
            f'"type":"tool_result","round":1}}}}\nid: {TURN}:7.0\n\n',
            f'data: {{"event":"token","data":{{"id":4,"token":"rnetes \u2028é."}}}}\nid: {TURN}:7.10\n\n',
            f'data: {{"event":"turn_complete","data":{{"id":14,"token":"Kubernetes \u2028é."}}}}\nid: {TURN}:8.1\n\n',
            'data: {"event":"end","data":{"referenced_documents":[{"doc_url":"https://kubernetes.io/",'
            '"doc_title":"Kubernetes","source":null,"document_id":null}],"truncated":null,"input_tokens":150,'
            f'"output_tokens":200}},"available_quotas":{{}}}}\nid: {TURN}:9.0\n\n',
        ]
    )


def test_a_completed_turn_as_text() -> None:
    assert text(COMPLETED) == (
        "Kube[Tool Call: search]\n[Tool Result]\nrnetes \u2028é.\n\n---\n\nKubernetes: https://kubernetes.io/"
    )


def test_a_failed_turn_ends_with_an_error_and_without_end() -> None:
    failed = event(
        7, "turn_ended", status="failed", error={"code": "context_too_long", "message": "Too long for this model."}
    )
    frames = [ASKED, event(6, "assistant_message", **said("Ku")), failed]

    wire = sse(frames)

    assert data(wire)[1:] == [
        'data: {"event":"token","data":{"id":0,"token":"Ku"}}',
        'data: {"event":"error","data":{"status_code":413,"response":"Prompt is too long",'
        '"cause":"context_too_long: Too long for this model."}}',
    ]
    assert wire[-1].endswith(f"\nid: {TURN}:7.0\n\n".encode())
    assert text(frames) == "KuStatus: 413 - Prompt is too long - context_too_long: Too long for this model."


def test_a_stopped_turn_ends_with_interrupted_and_nothing_is_added_to_what_was_said() -> None:
    frames = [ASKED, event(6, "assistant_message", **said("Ku")), event(7, "turn_ended", status="cancelled")]

    wire = sse(frames)

    assert data(wire)[1:] == [
        'data: {"event":"token","data":{"id":0,"token":"Ku"}}',
        f'data: {{"event":"interrupted","data":{{"request_id":"{TURN}"}}}}',
    ]
    assert text(frames) == "Ku"


def test_a_replay_says_that_it_is_one() -> None:
    [start] = data(map(as_sse, answer(cached=True).opened()))

    assert start.endswith(f'"request_id":"{TURN}","cached":true}}}}')


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '"x"', "null", '{"q":"x"', pytest.param(DEEP, id="deep")])
def test_arguments_that_are_no_object_are_shown_as_the_model_wrote_them(arguments: str) -> None:
    [*_, call] = sse([ASKED, event(6, "assistant_message", **said("", calls=[("c", "search", arguments)]))])

    assert Reader().feed(call).messages[0].json["data"]["args"] == arguments


def test_a_failed_tool_says_failure_and_its_round() -> None:
    [*_, told] = sse([ASKED, event(6, "tool_result", **result(2, 0, "No.", is_error=True))])

    assert Reader().feed(told).messages[0].json["data"] == {
        "id": "call_1",
        "status": "failure",
        "content": "No.",
        "type": "tool_result",
        "round": 3,
    }


def test_hidden_tools_leave_empty_tokens_and_nothing_of_them_is_on_the_wire() -> None:
    wire = sse(COMPLETED, answer(style=Style(tools=False)))

    hidden = [
        'data: {"event":"token","data":{"id":4,"token":""},"original":{"event":"tool_call"}}',
        'data: {"event":"token","data":{"id":4,"token":""},"original":{"event":"tool_result"}}',
    ]
    assert data(wire)[3:5] == hidden
    assert not [write for write in wire[3:6] if b"search" in write or b"a\\nb" in write]
    assert text(COMPLETED, answer(style=Style(tools=False))).startswith("Kubernetes \u2028é.\n\n---")


def test_roles_stand_after_the_id_of_the_events_that_a_site_names() -> None:
    roles = {"token": "inference", "tool_call": "inference", "tool_result": "tool_execution"}

    told = data(sse(COMPLETED, answer(style=Style(roles=roles))))

    assert told[1] == 'data: {"event":"token","data":{"id":0,"role":"inference","token":"Kub"}}'
    assert '{"id":"call_1","role":"inference","name":"search"' in told[3]
    assert '{"id":"call_1","role":"tool_execution","status":"success"' in told[4]
    assert "role" not in told[-1] + told[-2] + told[0]


def test_a_heartbeat_is_an_event_only_for_sites_that_want_one() -> None:
    frames = COMPLETED[:5]

    told = sse(frames, answer(style=Style(heartbeat_events=True)))[-1]

    assert sse(frames)[-1] == b": heartbeat\n"
    assert told == b'data: {"event":"heartbeat","data":{"id":3,"token":"heartbeat"}}\n\n'


def withdrawn(cursor: str = "5.0") -> list[Followed]:
    """A draft is withdrawn because its process is gone; another begins the hop again."""
    return [
        Reset(cursor=cursor),
        event(6, "turn_restarted", attempt=2, hop=0, reason="lease_lapsed"),
        event(7, "assistant_message", **said("Kubernetes")),
        event(8, "turn_ended", status="completed"),
    ]


def test_a_client_that_has_withdrawn_text_is_told_to_ask_again_and_to_forget_its_position() -> None:
    told = answer()

    wire = sse([ASKED, delta("5.2", 0, "Ku"), *withdrawn()[:1]], told)

    assert wire[-1].startswith(b'data: {"event":"error","data":{"status_code":503,')
    assert b'"cause":"answer_restarted: ' in wire[-1]
    assert wire[-1].endswith(b"}}\nid:\n\n")
    assert told.over


def test_a_restart_withdraws_by_itself_what_a_client_has_seen_of_its_hop() -> None:
    told = answer()
    view = View(BEGIN)
    draft = Draft(CONVERSATION, turn_id=TURN, attempt=1, hop=0, after_seq=5)
    draft.append("text", "Ku")
    begun = view.event(Entry(5, Kind.USER_MESSAGE, TURN, AT, {"text": "?"})) + view.draft(draft)
    restarted = view.event(Entry(6, Kind.TURN_RESTARTED, TURN, AT, {"attempt": 2, "hop": 0, "reason": "r"}))

    wire = sse([*begun, *restarted], told)

    assert wire[-2].startswith(b'data: {"event":"token","data":{"id":0,"token":"Ku"}}')
    assert b'"cause":"answer_restarted: ' in wire[-1]
    assert told.over


@pytest.mark.parametrize("seen", [[], [delta("5.3", 0, "Hm.", "reasoning")]])
def test_a_restart_of_which_a_client_has_seen_nothing_is_none_for_it(seen: list[Followed]) -> None:
    reader = Reader().feed(b"".join(sse([ASKED, *seen, *withdrawn()])))

    assert [message.json["event"] for message in reader.messages] == ["start", "token", "turn_complete", "end"]
    assert reader.messages[1].json["data"] == {"id": 0, "token": "Kubernetes"}


LOST: dict[str, tuple[Cursor, list[Followed]]] = {
    "restarted": (Cursor(5, 2), withdrawn()[1:]),
    "restarted after a longer draft": (Cursor(5, 2), [delta("5.1", 0, "K"), *withdrawn()]),
    "shorter than it was": (Cursor(5, 11), withdrawn()[2:]),
    "nothing was kept": (Cursor(5, 1), [event(6, "turn_ended", status="failed")]),
    "less was kept, with a call": (
        Cursor(5, 4),
        [event(6, "assistant_message", **said("Ku", calls=[("call_1", "search", "{}")]))],
    ),
    "a log that has become shorter": (Cursor(7), [Reset(cursor="0.0")]),
    "a log that ends before": (Cursor(10), COMPLETED[-1:]),
}  # fmt: skip


@pytest.mark.parametrize(("resume", "frames"), LOST.values(), ids=LOST)
def test_a_client_that_comes_back_with_text_that_is_not_stored_is_told(resume: Cursor, frames: list[Followed]) -> None:
    told = answer(resume)

    [first, *_] = [as_sse(sent) for frame in [ASKED, *frames] for sent in told.take(frame)]

    assert b"answer_restarted" in first
    assert told.over


def test_who_comes_back_after_the_end_hears_nothing_more() -> None:
    told = answer(Cursor(9))

    assert sse(COMPLETED, told) == [b": heartbeat\n", b": heartbeat\n"]
    assert told.over


def test_every_frame_in_protocol_is_one_and_every_one_is_there() -> None:
    document = (Path(__file__).parents[3] / "PROTOCOL.md").read_text(encoding="utf-8")
    shown = re.findall(r'^data: (\{"event":.*\})$', document, flags=re.MULTILINE)
    decoded = [msgspec.json.decode(line, type=AnyFrame) for line in shown]

    assert [msgspec.json.encode(frame).decode() for frame in decoded] == shown
    assert {type(frame) for frame in decoded} == set(get_args(AnyFrame))


def test_a4_5_the_tests_of_this_door_use_the_objects_themselves() -> None:
    """A4.5: a mock has every attribute that is asked for."""
    here = Path(__file__).parent
    tests = here.parents[1]
    sources = [*here.glob("*.py"), *tests.glob("**/*lightspeed*.py"), *tests.glob("**/*streaming_chat*.py")]

    assert len(sources) > 3
    assert not [
        path.name for path in sources if re.search(r"^(?:from|import) .*\bmock", path.read_text(), re.MULTILINE)
    ]


# --- Cut anywhere --------------------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """Something that happens: the draft grows, or the log."""

    kind: str
    data: Any


class World:
    """A conversation with an earlier turn, in which one is being answered."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.draft = self.open(0)

    def open(self, hop: int) -> Draft:
        return Draft(CONVERSATION, turn_id=TURN, attempt=1, hop=hop, after_seq=BEGIN.seq + len(self.entries))

    def do(self, tick: Tick) -> None:
        if tick.kind in ("text", "reasoning"):
            self.draft.append(tick.kind, tick.data)  # type: ignore[arg-type]
            return
        data = tick.data
        if tick.kind == Kind.ASSISTANT_MESSAGE:
            draft, calls = self.draft, data
            data = {
                "hop": draft.hop,
                "text": draft.text_of("text"),
                "reasoning": draft.text_of("reasoning"),
                "runs": draft.runs(),
                "tool_calls": [{"id": f"call_{at}", "name": "search", "arguments": "{}"} for at in range(calls)],
            }
        self.entries.append(Entry(BEGIN.seq + len(self.entries) + 1, tick.kind, TURN, AT, data))
        if tick.kind == Kind.ASSISTANT_MESSAGE:
            self.draft = self.open(draft.hop + 1)

    def look(self, view: View) -> Iterator[Followed]:
        for entry in self.entries[view.seq - BEGIN.seq :]:
            yield from view.event(entry)
        if view.follows(self.draft):
            yield from view.draft(self.draft)
        yield Heartbeat(cursor=str(view.cursor), at="")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
SAYS = st.lists(st.builds(Tick, st.sampled_from(["text", "text", "reasoning"]), TEXT), max_size=3)


@st.composite
def turns(draw: st.DrawFn) -> list[Tick]:
    """All that happens in a turn, in order."""
    ticks = [Tick("user_message", {"text": "Go on."})]
    for hop in range(draw(st.integers(0, 2))):
        calls = draw(st.integers(1, 3))
        ticks += [*draw(SAYS), Tick("assistant_message", calls)]
        ticks += [Tick("tool_result", result(hop, at, "ok", sources=[SOURCE])) for at in range(calls)]
    ticks += draw(SAYS)
    ending = draw(st.sampled_from(["completed", "cancelled", "failed"]))
    return [*ticks, Tick("assistant_message", 0), Tick("turn_ended", {"status": ending, "usage": USAGE})]


class Fold(NamedTuple):
    """What a client makes of an answer: the text, and everything else in order, with where in the text it came."""

    text: str
    others: list[tuple[int, Any]]


def fold(reader: Reader) -> Fold:
    so_far, others = "", []
    for message in reader.messages:
        frame = message.json
        if frame["event"] == "token" and "original" not in frame:
            assert frame["data"]["id"] == len(so_far)
            so_far += frame["data"]["token"]
        else:
            others.append((len(so_far), frame))
    return Fold(so_far, others)


def connection(world: World, reader: Reader, ticks: Iterator[Tick], style: Style) -> Iterator[bytes]:
    """What a client gets that goes on where it was: what there is, then what comes."""
    position = position_in(reader.position)
    told = answer(position.cursor if position else None, style=style)
    view = View(BEGIN)
    yield b"".join(as_sse(sent) for sent in told.opened())
    while not told.over:
        yield b"".join(as_sse(sent) for frame in world.look(view) for sent in told.take(frame))
        tick = next(ticks, None)
        if tick is None:
            return
        world.do(tick)


def uncut(turn: list[Tick], style: Style) -> Fold:
    return fold(Reader().feed(b"".join(connection(World(), Reader(), iter(turn), style))))


def parts_id_from_its_end(write: bytes, at: int) -> bool:
    """Whether a cut here is just before the empty line that makes a message count; fetch-event-source has its id then,
    but not the message."""
    return write[at - 1 : at + 1] == b"\n\n"


@pytest.mark.parametrize("eager", [False, True], ids=["as the standard says", "as fetch-event-source does"])
@pytest.mark.parametrize("style", [Style(), Style(tools=False)], ids=["tools", "no tools"])
@given(turn=turns(), choices=st.data())
def test_whatever_byte_a_client_is_cut_at_it_ends_with_what_is_stored_and_nothing_twice(
    eager: bool, style: Style, turn: list[Tick], choices: st.DataObject
) -> None:
    world, reader = World(), Reader(eager=eager)
    ticks = iter(turn)

    for patience in choices.draw(st.lists(st.integers(0, 4), max_size=8)):
        for number, write in enumerate(connection(world, reader.reconnected(), ticks, style)):
            if number < patience:
                reader.feed(write)
                continue
            cuts = [at for at in range(len(write) + 1) if not (eager and parts_id_from_its_end(write, at))]
            reader.feed(write[: choices.draw(st.sampled_from(cuts))])
            break
    for write in connection(world, reader.reconnected(), ticks, style):
        reader.feed(write)

    stored = [entry.data["text"] for entry in world.entries if entry.kind == Kind.ASSISTANT_MESSAGE]
    assert fold(reader) == uncut(turn, style)
    assert fold(reader).text == "".join(stored)
