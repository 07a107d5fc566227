"""The scripted provider's HTTP face: the completions, the scripts, the gates and the log."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from typing import Any

from aiohttp import web

from bench.provider import strict
from bench.provider.play import BadScript, Play, Step, verb_of

Script = list[Step] | list[list[Step]]
DEFAULT: Script = [{"text": "Hello"}, {"text": " from"}, {"text": " the script."}]
HIDDEN_HEADERS = {"authorization", "cookie", "x-api-key", "api-key"}
LONGEST_WAIT = 60.0


class Provider:
    """Everything one provider was told and asked."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._gates: dict[str, asyncio.Event] = {}
        self.forget()

    def forget(self) -> None:
        """As if just started. Whoever waits at a gate may go."""
        for gate in self._gates.values():
            gate.set()
        self._gates = {}
        self._default: Script = DEFAULT
        self._named: dict[str, Script] = {}
        self._queue: deque[Script] = deque()
        self._strict = True
        self._log: list[dict[str, Any]] = []

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/script", self.take_script)
        app.router.add_get("/log", self.show_log)
        app.router.add_post("/gate/{name}", self.open_gate)
        app.router.add_post("/reset", self.reset)
        app.router.add_get("/{base:.*}models", self.models)
        app.router.add_post("/{base:.*}chat/completions", self.complete)
        return app

    async def take_script(self, request: web.Request) -> web.Response:
        """`POST /script`."""
        told = await request.json()
        try:
            for script in (told.get("default", []), *told.get("named", {}).values(), *told.get("queue", [])):
                for step in (step for hop in _hops(script) for steps in _tries(hop) for step in steps):
                    verb_of(step)
            if unknown := told.keys() - {"default", "named", "queue", "strict"}:
                raise BadScript(f"unknown parts: {sorted(unknown)}")
        except BadScript as error:
            return web.json_response({"error": str(error)}, status=400)
        self._default = told.get("default", self._default)
        self._named.update(told.get("named", {}))
        self._queue.extend(told.get("queue", []))
        self._strict = told.get("strict", self._strict)
        return web.json_response({})

    async def open_gate(self, request: web.Request) -> web.Response:
        """`POST /gate/<name>`."""
        self._gate(request.match_info["name"]).set()
        return web.json_response({})

    async def reset(self, request: web.Request) -> web.Response:
        """`POST /reset`."""
        self.forget()
        return web.json_response({})

    async def models(self, request: web.Request) -> web.Response:
        """`GET …/models`."""
        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def show_log(self, request: web.Request) -> web.Response:
        """`GET /log`. Answers 408, with what there is, if the requests waited for do not come in time."""
        count = int(request.query.get("wait_for", 0))
        timeout = min(float(request.query.get("timeout", 10)), LONGEST_WAIT)
        only_ended = request.query.get("ended") == "1"

        def enough() -> bool:
            return sum(1 for entry in self._log if entry["ended"] or not only_ended) >= count

        status = 200
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(enough)
        except TimeoutError:
            status = 408
        return web.json_response({"requests": self._log}, status=status)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """`POST …/chat/completions`."""
        entry = await self._note(request)
        started = time.monotonic()
        ending = "failed"
        try:
            response, ending = await self._answer(request, entry=entry)
            return response
        except (asyncio.CancelledError, ConnectionError):
            ending = "closed by client"
            raise
        finally:
            entry.update(ended=ending, ended_at=time.time(), ms=round((time.monotonic() - started) * 1000, 1))
            await asyncio.shield(self._tell())

    async def _note(self, request: web.Request) -> dict[str, Any]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HIDDEN_HEADERS}
        peer = request.get_extra_info("peername")
        entry: dict[str, Any] = {
            "number": len(self._log) + 1,
            "at": time.time(),
            "path": request.path_qs,
            "connection": peer[1] if peer else None,
            "headers": headers,
            "authorized": "Authorization" in request.headers,
            "body": None,
            "script": None,
            "fragments": 0,
            "ended": None,
        }
        self._log.append(entry)
        try:
            entry["body"] = json.loads(await request.read())
        except ValueError:
            entry["body"] = None
        await self._tell()
        return entry

    async def _answer(self, request: web.Request, *, entry: dict[str, Any]) -> tuple[web.StreamResponse, str]:
        if self._strict:
            try:
                strict.check(entry["body"])
            except strict.Refused as refused:
                entry["refused"] = str(refused)
                error = {"message": str(refused), "type": "invalid_request_error", "param": "messages", "code": None}
                return web.json_response({"error": error}, status=400), "refused"

        def written() -> None:
            entry["fragments"] += 1

        call_id = entry["headers"].get("X-Client-Request-Id", "")
        entry["script"], tries = self._choose(entry["body"])
        steps = tries[min(_number(call_id), len(tries)) - 1]
        play = Play(
            request,
            body=entry["body"],
            answer_id=f"chatcmpl-{entry['number']}",
            gate=lambda name: self._gate(name).wait(),
            written=written,
        )
        return await play.run(steps)

    def _choose(self, body: dict[str, Any]) -> tuple[str, list[list[Step]]]:
        """The script for a request, by name, and its steps for the hop at which the request is, for each try."""
        messages = body["messages"]
        asked = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=0)
        hop = sum(1 for message in messages[asked:] if message["role"] == "assistant")
        marker = re.search(r"\[\[([\w-]+)\]\]", str(messages[asked].get("content")))
        if marker and marker[1] in self._named:
            name, script = marker[1], self._named[marker[1]]
        elif self._queue:
            name, script = "queue", self._queue.popleft()
        else:
            name, script = "default", self._default
        hops = _hops(script)
        return name, _tries(hops[min(hop, len(hops) - 1)])

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _hops(script: Any) -> list[list[Any]]:
    """A script as one list of steps per hop."""
    if not isinstance(script, list):
        raise BadScript(f"not a script: {script!r}")
    return script if script and (isinstance(script[0], list) or "tries" in script[0]) else [script]


def _tries(hop: Any) -> list[list[Step]]:
    """A hop as one list of steps per try."""
    tries: list[list[Step]] = hop["tries"] if isinstance(hop, dict) else [hop]
    return tries


def _number(call_id: str) -> int:
    """Which try a call is, as its id ends."""
    number = call_id.rpartition(":")[2]
    return int(number) if number.isdecimal() else 1
