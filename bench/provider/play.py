"""One request answered as its script says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from bench.provider.wire import DONE, ChunkWriter, event, halves
from bench.provider.words import WordStream

Step = dict[str, Any]
OPTIONS = {"field", "rate", "stamped", "start", "where", "headers", "body"}
"""What may stand beside a verb; `usage` beside `finish` as well."""


class BadScript(ValueError):
    """A script that cannot be played."""


class Over(Exception):
    """The script ended the answer itself, in this way."""

    def __init__(self, ending: str) -> None:
        self.ending = ending


def verb_of(step: Any) -> str:
    """The verb of a step. Raises `BadScript` if there is not exactly one that is known."""
    if not isinstance(step, dict):
        raise BadScript(f"not a step: {step!r}")
    verbs = [word for word in step if word not in OPTIONS and not (word == "usage" and "finish" in step)]
    if len(verbs) != 1 or verbs[0] not in VERBS:
        raise BadScript(f"a step has one verb of {sorted(VERBS)}: {step!r}")
    return str(verbs[0])


class Play:
    """A script on its way to one client."""

    def __init__(
        self,
        request: web.Request,
        *,
        body: dict[str, Any],
        answer_id: str,
        gate: Callable[[str], Awaitable[object]],
        written: Callable[[], None],
    ) -> None:
        self._request = request
        self._chunks = ChunkWriter(answer_id=answer_id, model=str(body.get("model")))
        self._gate = gate
        self._written = written
        self._response: web.StreamResponse | None = None
        self._split = False
        self._finish = "stop"
        self._needs_finish = True
        self._usage = _usage_of(body) if (body.get("stream_options") or {}).get("include_usage") else None
        self._tokens = 0

    async def run(self, steps: list[Step]) -> tuple[web.StreamResponse, str]:
        """Play all steps; the response and how it ended."""
        try:
            for step in steps:
                await VERBS[verb_of(step)](self, step)
            await self._complete()
            ending = "completed"
        except Over as over:
            ending = over.ending
        response = await self._opened()
        return response, ending

    async def _complete(self) -> None:
        if self._needs_finish:
            await self._write(self._chunks.choice(delta={}, finish_reason=self._finish))
        if self._usage:
            total = self._usage["prompt_tokens"] + self._tokens
            usage = {**self._usage, "completion_tokens": self._tokens, "total_tokens": total}
            await self._write(self._chunks.chunk({"choices": [], "usage": usage}))
        await self._write(DONE)

    async def _opened(self) -> web.StreamResponse:
        if self._response is None:
            headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
            self._response = web.StreamResponse(headers=headers)
            self._response.enable_chunked_encoding()
            await self._response.prepare(self._request)
        return self._response

    async def _write(self, payload: bytes) -> None:
        response = await self._opened()
        if not self._split:
            await response.write(payload)
            return
        for at in range(len(payload)):
            await response.write(payload[at : at + 1])
            await asyncio.sleep(0)

    async def _delta(self, delta: dict[str, Any]) -> None:
        await self._write(self._chunks.delta(delta))
        self._spoke()

    def _spoke(self) -> None:
        self._tokens += 1
        self._written()

    async def text(self, step: Step) -> None:
        await self._delta({"content": step["text"]})

    async def refusal(self, step: Step) -> None:
        await self._delta({"refusal": step["refusal"]})

    async def reasoning(self, step: Step) -> None:
        await self._delta({step.get("field", "reasoning_content"): step["reasoning"]})

    async def words(self, step: Step) -> None:
        await self._opened()
        stream = WordStream(
            _transport(self._request),
            chunks=self._chunks,
            count=step["words"],
            rate=step.get("rate", 50),
            start=step.get("start", 1),
            stamped=step.get("stamped", False),
            written=self._spoke,
        )
        await stream.run()

    async def halves(self, step: Step) -> None:
        for character in step["halves"]:
            for delta in halves(character):
                await self._write(self._chunks.delta_json(delta))
        self._spoke()

    async def tool(self, step: Step) -> None:
        told = step["tool"]
        call = {name: told[name] for name in ("index", "id", "type") if name in told}
        call["function"] = {name: told[name] for name in ("name", "arguments") if name in told}
        self._finish = "tool_calls"
        await self._delta({"tool_calls": [call]})

    async def message(self, step: Step) -> None:
        if step["message"].get("tool_calls"):
            self._finish = "tool_calls"
        await self._write(self._chunks.choice(message=step["message"]))
        self._spoke()

    async def chunk(self, step: Step) -> None:
        await self._write(self._chunks.chunk(step["chunk"]))

    async def raw(self, step: Step) -> None:
        await self._write(step["raw"].encode())

    async def comment(self, step: Step) -> None:
        await self._write(b": " + step["comment"].encode() + b"\n\n")

    async def finish(self, step: Step) -> None:
        self._needs_finish = False
        if "usage" in step:
            self._usage = None
        await self._write(self._chunks.choice(delta={}, finish_reason=step["finish"], usage=step.get("usage")))

    async def usage(self, step: Step) -> None:
        self._usage = None
        usage, where = step["usage"], step.get("where", "empty_choices")
        if usage is None:
            return
        match where:
            case "empty_choices":
                await self._write(self._chunks.chunk({"choices": [], "usage": usage}))
            case "with_delta":
                await self._write(self._chunks.choice(delta={}, usage=usage))
            case "in_choice":
                await self._write(self._chunks.chunk({"choices": [{"index": 0, "delta": {}, "usage": usage}]}))
            case _:
                raise BadScript(f"usage cannot be {where!r}")

    async def error_event(self, step: Step) -> None:
        await self._write(event(msgspec.json.encode({"error": step["error_event"]})))
        raise Over("error event")

    async def status(self, step: Step) -> None:
        body = step.get("body")
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": "application/json", **step.get("headers", {})}
        self._response = web.Response(status=step["status"], text=text, headers=headers)
        raise Over(f"status {step['status']}")

    async def open(self, step: Step) -> None:
        await self._opened()

    async def pause(self, step: Step) -> None:
        await asyncio.sleep(step.get("pause") or step.get("silence") or 0)

    async def gate(self, step: Step) -> None:
        await self._gate(step["gate"])

    async def split_bytes(self, step: Step) -> None:
        self._split = bool(step["split_bytes"])

    async def close(self, step: Step) -> None:
        raise Over("closed without an end")

    async def reset(self, step: Step) -> None:
        transport = _transport(self._request)
        linger_not = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        transport.abort()
        raise Over("reset")


VERBS: dict[str, Callable[[Play, Step], Awaitable[None]]] = {
    "text": Play.text,
    "refusal": Play.refusal,
    "reasoning": Play.reasoning,
    "words": Play.words,
    "halves": Play.halves,
    "tool": Play.tool,
    "message": Play.message,
    "chunk": Play.chunk,
    "raw": Play.raw,
    "comment": Play.comment,
    "finish": Play.finish,
    "usage": Play.usage,
    "error_event": Play.error_event,
    "status": Play.status,
    "open": Play.open,
    "pause": Play.pause,
    "silence": Play.pause,
    "gate": Play.gate,
    "split_bytes": Play.split_bytes,
    "close": Play.close,
    "reset": Play.reset,
}


def _transport(request: web.Request) -> asyncio.Transport:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    return transport


def _usage_of(body: dict[str, Any]) -> dict[str, int]:
    """A believable count: a token per word of the history."""
    words = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
    return {"prompt_tokens": words, "completion_tokens": 0}
