"""The scripted provider as a process, driven over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any

from bench.environment import ROOT

Script = list[Any]


class ProviderProcess:
    """A running scripted provider. Its calls block; inside a loop use `requests_async`, or a thread."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.provider", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError("the scripted provider did not start")
        self.port: int = json.loads(line)["port"]
        self.root = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def base_url(self) -> str:
        """What a client of OpenAI's protocol is given."""
        return f"{self.root}/v1"

    def script(
        self,
        default: Script | None = None,
        *,
        named: dict[str, Script] | None = None,
        queue: list[Script] | None = None,
        strict: bool | None = None,
    ) -> None:
        """Say what to say; parts that are not given stay as they are. The language is told in `bench.provider`."""
        told = {"default": default, "named": named, "queue": queue, "strict": strict}
        self._call("POST", "/script", {name: part for name, part in told.items() if part is not None})

    def log(self) -> list[dict[str, Any]]:
        """Every request so far, as `Provider._note` writes it; once it ended also `ended`, `ended_at` and `ms`."""
        return self.requests(0)

    def requests(self, count: int, *, ended: bool = False, timeout: float = 10) -> list[dict[str, Any]]:
        """The log, as soon as it has `count` requests (that have ended). Raises `TimeoutError` after `timeout` s."""
        status, answer = self._call("GET", f"/log?wait_for={count}&timeout={timeout}&ended={int(ended)}")
        log: list[dict[str, Any]] = answer["requests"]
        if status != 200:
            raise TimeoutError(f"{count} requests did not come (ended: {ended}); there were {len(log)}")
        return log

    async def requests_async(self, count: int, *, ended: bool = False, timeout: float = 10) -> list[dict[str, Any]]:  # noqa: ASYNC109
        """`requests`, from inside a loop that must go on."""
        return await asyncio.to_thread(self.requests, count, ended=ended, timeout=timeout)

    def open_gate(self, name: str) -> None:
        """Let pass who waits at `{"gate": name}`, now and later."""
        self._call("POST", f"/gate/{name}")

    def reset(self) -> None:
        """Forget scripts, gates and log."""
        self._call("POST", "/reset")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> ProviderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=70) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                answer = json.load(error)
            if error.code == 400:
                raise ValueError(answer["error"]) from None
            return error.code, answer
