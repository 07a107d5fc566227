"""The generated parts of PROTOCOL.md: frames, kinds of event, error codes and close codes, from the code itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from access.errors import UnknownModel
from chat import consumer  # noqa: F401 -- so that every error there is, is known
from chat.close import Close
from history.errors import ChatError
from history.events import DATA, Kind, TurnError
from llm.errors import ModelError
from streaming import ends, frames

TURN = "0b6c6f0e-6a43-4a0e-9d3c-1f6f0d9e2a51"
AT = "2026-11-21T08:29:17.042Z"
EXAMPLES: tuple[msgspec.Struct, ...] = (
    frames.Accepted(request_id="r-1", turn=TURN, cursor="0.0"),
    frames.Event(
        seq=1, cursor="1.0", kind="user_message", turn=TURN, at=AT, data={"text": "Hello?", "request_id": "r-1"}
    ),
    frames.Delta(cursor="1.5", turn=TURN, attempt=1, hop=0, offset=0, channel="text", text="Hello"),
    frames.Reset(cursor="1.0"),
    frames.Estimate(
        cursor="1.412",
        turn=TURN,
        attempt=1,
        hop=0,
        completion=103,
        usage_id="agent",
        prompt=512,
        cost="0.00013860",
        elapsed_ms=3100,
        tokens_per_second=33.2,
    ),
    frames.State(cursor="1.0", key="title", value="Hello?"),
    frames.CaughtUp(cursor="1.0"),
    frames.Heartbeat(cursor="1.5", at=AT),
    frames.Error(code="turn_active", message="An answer is still being written.", request_id="r-2", turn=TURN),
    frames.Pong(),
    frames.Send(request_id="r-1", text="Hello?"),
    frames.Stop(turn=TURN),
    frames.Ping(),
)


def sections() -> dict[str, str]:
    """Every generated section of PROTOCOL.md by the name in its marker."""
    return {
        "server-frames": "\n".join(map(_frame, get_args(frames.ServerFrame))),
        "client-frames": "\n".join(map(_frame, get_args(frames.AnyClientFrame))),
        "events": "\n".join(_kind(kind, data) for kind, data in DATA.items()),
        "errors": _table(("code", "what it says"), _errors()),
        "turn-errors": _table(("code", "what it says"), _turn_errors()),
        "close-codes": _table(("code", "what it means"), _closes()),
    }


def rewritten(text: str) -> str:
    """`text`, the whole of PROTOCOL.md, with its generated sections made anew. Raises `KeyError` for a marker that
    names no section."""
    fresh = sections()
    return re.sub(
        r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{fresh[found[2]]}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def error_classes() -> list[type[ChatError]]:
    """Every error a caller may be told, by code."""
    return sorted(set(_below(ChatError)) - {ChatError}, key=lambda error: error.code)


def _frame(frame: type[msgspec.Struct]) -> str:
    tag = str(frame.__struct_config__.tag)
    example = next(each for each in EXAMPLES if type(each) is frame)
    return f"### `{tag}`\n\n{_said(frame)}\n\n{_code(msgspec.to_builtins(example), indent=None)}\n\n{_schema(frame)}\n"


def _kind(kind: str, data: type[msgspec.Struct]) -> str:
    return f"### `{Kind(kind).value}`\n\n{_said(data)}\n\n{_schema(data)}\n"


def _schema(struct: type[msgspec.Struct]) -> str:
    schema = msgspec.json.schema(struct)
    own = schema["$defs"].pop(struct.__name__)
    own.pop("description", None)
    if schema["$defs"]:
        own["$defs"] = schema["$defs"]
    return f"<details><summary>JSON Schema</summary>\n\n{_code(own, indent=2)}\n\n</details>"


def _errors() -> Iterable[tuple[str, str]]:
    for error in error_classes():
        yield f"`{error.code}`", _said(error)
    yield "`internal`", "Something went wrong on the server. Please try again."


def _turn_errors() -> Iterable[tuple[str, str]]:
    """Whatever can be in `turn_ended`: the model failed, its profile is gone, or the server is to blame."""
    classes: list[type[Any]] = [ModelError, *_below(ModelError), UnknownModel]
    said = {error.code: _said(error) for error in classes}
    said |= {error.code: error.message for error in vars(ends).values() if isinstance(error, TurnError)}
    for code, sentence in sorted(said.items()):
        yield f"`{code}`", sentence


def _closes() -> Iterable[tuple[str, str]]:
    for close in sorted(Close):
        yield f"`{close.value}`", close.meaning


def _below(base: type[Any]) -> Iterable[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from _below(child)


def _said(thing: type[Any]) -> str:
    return " ".join((thing.__doc__ or "").split())


def _code(value: Any, *, indent: int | None) -> str:
    return f"```json\n{json.dumps(value, indent=indent, ensure_ascii=False)}\n```"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
