"""The direct adapter for providers that speak OpenAI's `POST /chat/completions` with `stream: true`."""

from __future__ import annotations

import asyncio
import json
import logging
import weakref
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import aiohttp
from yarl import URL

from llm import openai_request
from llm.addresses import PublicResolver
from llm.body import body_of
from llm.deadlines import Deadlines, Watch
from llm.errors import Malformed, ModelError, Truncated, Unavailable
from llm.openai_answer import Answer, Stage
from llm.openai_errors import error_of_json, error_of_status
from llm.redaction import redacted
from llm.sse import SseReader
from llm.types import ChatRequest, Delta, Json

logger = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024
"""Bytes read of an answer that is not a stream."""
BODY_PATIENCE = 5.0
"""Seconds an error's body may take; its status alone will do."""
END_PATIENCE = 0.25
"""Seconds for the end of the body after `[DONE]`; with it, the connection can be used again."""


class OpenAIModel:
    """One model of one provider. Connections are pooled per event loop; `aclose()` closes the running loop's."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        deadlines: Deadlines | None = None,
        public_only: bool = False,
    ) -> None:
        """`base_url` as OpenAI's clients take it, with the version: `https://host/v1`. With `public_only` its host's
        name must stand for public addresses, each time that a connection is made; redirects are never followed."""
        base = URL(base_url)
        self._url = (base / "chat/completions").with_query(base.query).with_user(None)
        self._api_key = api_key
        self._authorization = _authorization(api_key, base=base)
        self._model = model
        self._limit_field = "max_completion_tokens" if base.host == "api.openai.com" else "max_tokens"
        self._deadlines = deadlines or Deadlines()
        self._public_only = public_only
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]
        self._sessions = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<OpenAIModel {self._model}>"

    async def aclose(self) -> None:
        """Close the pooled connections of the running loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The reply as deltas. Raises a `ModelError`, which never says more than its own sentence; the provider's
        words go to the log, redacted."""
        watch = Watch(self._deadlines, time_limit=request.time_limit)
        response = await self._open(request, watch=watch)
        body, answer, events = body_of(response), Answer(), SseReader()
        stage = answer.stage
        watch.start(response.close)
        try:
            while True:
                watch.ask()
                chunk = await body.readany()
                if not chunk:
                    break
                for data in events.feed(chunk):
                    deltas = answer.read(data)
                    watch.heard()
                    if answer.stage is not stage:
                        stage = _note(answer.stage, watch=watch)
                    for delta in deltas:
                        yield delta
            if body.exception() is not None and answer.finish_reason is None:
                raise watch.expired or Truncated()
            for delta in _rest(events, answer):
                yield delta
        except ModelError as error:
            logger.warning("call %s of %r broke off: %s", request.call_id, self._model, error.code)
            raise
        finally:
            watch.stop()
            # Read to its end, it is back in the pool and this does nothing; otherwise the provider sees it close.
            response.close()

    async def _open(self, request: ChatRequest, *, watch: Watch) -> aiohttp.ClientResponse:
        """The provider's answer, once it is known to be a stream."""
        try:
            async with asyncio.timeout_at(watch.opens_until):
                response = await self._post(request)
        except aiohttp.ClientError as error:  # before TimeoutError: aiohttp's connect timeout is both
            self._log(request, what=type(error).__name__, words=str(error))
            failure: ModelError = Unavailable()
        except TimeoutError:
            failure = watch.late()
        else:
            if response.status == 200 and response.content_type == "text/event-stream":
                return response
            failure = await self._refusal(response, request=request)
        raise failure  # out here, so that it does not carry the client's error, which names the host

    async def _post(self, request: ChatRequest) -> aiohttp.ClientResponse:
        return await self._session().post(
            self._url,
            data=openai_request.body(request, model=self._model, limit_field=self._limit_field),
            headers=self._headers(request),
            allow_redirects=False,
        )

    async def _refusal(self, response: aiohttp.ClientResponse, *, request: ChatRequest) -> ModelError:
        words = b""
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                while len(words) < BODY_LIMIT and (chunk := await response.content.readany()):
                    words += chunk
        except (aiohttp.ClientError, TimeoutError):
            pass  # the status says enough
        finally:
            response.close()
        self._log(request, what=f"status {response.status}", words=words[:BODY_LIMIT].decode(errors="replace"))
        body = _json(words)
        if response.status == 200:
            return error_of_json(body)
        return error_of_status(response.status, headers=response.headers, body=body)

    def _headers(self, request: ChatRequest) -> dict[str, str]:
        # Compressed, tokens would come in lumps.
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        if request.call_id.isascii() and request.call_id.isprintable():
            headers["X-Client-Request-Id"] = request.call_id
        return headers

    def _session(self) -> aiohttp.ClientSession:
        """The running loop's. Its connector has no limit: how many turns may run is for others to say."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            session = self._sessions[loop] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=PublicResolver() if self._public_only else None),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._deadlines.connect),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return session

    def _log(self, request: ChatRequest, *, what: str, words: str) -> None:
        told = redacted(words, secrets=(self._api_key or "", str(self._url.host)))
        logger.warning("call %s of %r failed: %s: %s", request.call_id, self._model, what, told)


def _note(stage: Stage, *, watch: Watch) -> Stage:
    """Tell the watch that the answer has come this far."""
    match stage:
        case Stage.SPEAKING:
            watch.speaks()
        case Stage.FINISHED:
            watch.ends(watch.deadlines.ending)
        case Stage.DONE:
            watch.ends(END_PATIENCE)
    return stage


def _rest(events: SseReader, answer: Answer) -> Iterator[Delta]:
    """What the end of the stream completes. Once the finish reason is known, however the stream ends is an end."""
    with suppress(Malformed):  # cut within its last event; whether that was needed, is known below
        for data in events.close():
            yield from answer.read(data)
    yield from answer.end()


def _authorization(api_key: str | None, *, base: URL) -> str | None:
    """The header that says who asks: by key, else by the user in the base URL."""
    if api_key:
        return f"Bearer {api_key}"
    if base.user:
        return "Basic " + b64encode(f"{base.user}:{base.password or ''}".encode()).decode()
    return None


def _json(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
