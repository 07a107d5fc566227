"""The adapter for providers that do not speak OpenAI's protocol: litellm speaks theirs. The only file that imports it.

litellm takes seconds to import and much memory, so it is imported when such a model is first asked, in a thread. What
it hands on are OpenAI's chunks again, and `Answer` reads them. What it makes up is not believed: the finish reason of a
stream that just ended, and a usage that nobody told. Not all that is used of it here is in its documentation; its
version is pinned, and the tests hold each point.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from functools import cache
from typing import Any, NoReturn, TypeAlias, TypeVar

from yarl import URL

from llm import openai_request
from llm.deadlines import Deadlines, Watch
from llm.errors import ContextTooLong, Malformed, ModelError, Truncated, Unavailable
from llm.openai_answer import Answer, usage_from
from llm.openai_errors import error_in_stream, error_of_status
from llm.redaction import redacted
from llm.types import ChatRequest, Delta, Usage

logger = logging.getLogger(__name__)

OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
"""Read by litellm on import: fetch no lists from the network, and read no `.env` on its own account."""
QUIET = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
"""Loggers that tell what providers say, on handlers of their own."""
TALKATIVE = ("httpx", "httpcore", "openai")
"""Loggers that tell of each request; in its address there may be a key."""
GEMINI = ("gemini", "vertex_ai", "vertex_ai_beta")
"""What litellm calls those who speak Gemini's protocol."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
"""What litellm's parsers fail with."""

Library: TypeAlias = Any
Stream: TypeAlias = Any
Chunk: TypeAlias = Any
T = TypeVar("T")


class LiteLLMModel:
    """One model of one provider, named `provider/model` as litellm names it."""

    def __init__(
        self, model: str, *, base_url: str = "", api_key: str | None = None, deadlines: Deadlines | None = None
    ) -> None:
        """Where there is no `base_url`, or no `api_key`, litellm looks where that provider's own clients look.

        Two things are not ours to say: only some providers get the connect deadline (the others the first token's), and
        a request whose connection breaks before any answer is sent once more.
        """
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._deadlines = deadlines or Deadlines()

    def __repr__(self) -> str:
        return f"<LiteLLMModel {self._model}>"

    async def aclose(self) -> None:
        """Close the connections that litellm keeps, of all its models."""
        if _library.cache_info().currsize:
            library = _library()
            await library.close_litellm_async_clients()
            library.in_memory_llm_clients_cache.flush_cache()
            if shared := vars(library).pop("module_level_aclient", None):  # of which it makes another when it needs one
                await shared.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The reply as deltas. Raises a `ModelError`, which never says more than its own sentence; the provider's
        words go to the log, redacted."""
        library = await asyncio.to_thread(_library)
        call = _Call(library, watch=Watch(self._deadlines, time_limit=request.time_limit))
        try:
            await call.open(self._arguments(request))
            while (chunk := await call.next()) is not None:
                for delta in call.read(chunk):
                    yield delta
            for delta in call.end():
                yield delta
        except ModelError as error:
            words = redacted(call.words, secrets=(self._api_key or "", URL(self._base_url).host or ""))
            logger.warning("call %s of %r failed: %s: %s", request.call_id, self._model, error.code, words)
            raise
        finally:
            await call.close()

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        import httpx  # comes with litellm; nothing else here needs it

        return {
            **json.loads(openai_request.body(request, model=self._model)),  # a copy: litellm changes what it is given
            "base_url": self._base_url or None,
            "api_key": self._api_key,
            "timeout": httpx.Timeout(self._deadlines.total, connect=self._deadlines.connect),
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,  # what a provider has no word for is left out
            "_skip_mcp_handler": True,  # else tools need a package that litellm does not require
        }


class _Call:
    """One call through litellm. `words` are what it said of a failure."""

    def __init__(self, library: Library, *, watch: Watch) -> None:
        self.words = ""
        self._library = library
        self._watch = watch
        self._answer = Answer()
        self._stream: Stream = None
        self._gemini: _GeminiLines | None = None
        self._heard = False

    async def open(self, arguments: dict[str, Any]) -> None:
        """Ask."""
        self._stream = stream = await self._wait(self._library.acompletion(**arguments))
        if stream.completion_stream is None and stream.custom_llm_provider in GEMINI:
            self._gemini = _GeminiLines(await self._wait(stream.fetch_stream()))  # only now is it asked

    async def next(self) -> Chunk | None:
        """What has come, or None at the end. Once the finish reason is known, however it ends is an end."""
        self._watch.ask()
        try:
            chunk = await self._wait(anext(self._stream, None))
        except ModelError:
            if not self._has_finished:
                raise
            self._answer.finish_reason = self._answer.finish_reason or self._told
            return None
        self._watch.heard()
        self._heard = True
        # Usage is taken off each chunk and comes once more after the last one, then partly of litellm's own counting.
        return None if getattr(chunk, "usage", None) else chunk

    def read(self, chunk: Chunk) -> list[Delta]:
        """The deltas of a chunk."""
        deltas = self._answer.take(chunk.model_dump(warnings=False))
        if self._answer.finish_reason is not None:
            self._watch.ends(self._watch.deadlines.ending)
        elif self._answer.said:
            self._watch.speaks()
        return deltas

    def end(self) -> list[Delta]:
        """The last deltas. Raises `Truncated` or `EmptyReply`."""
        if not self._has_finished:
            self._answer.finish_reason = None
        elif self._gemini is not None and self._gemini.left:
            raise Malformed
        return [*self._answer.end(), *self._usage()]

    async def close(self) -> None:
        """Close the provider's connection, unless it was read to its end."""
        if self._stream is not None:
            await self._stream.aclose()

    @property
    def _told(self) -> str | None:
        """The finish reason so far."""
        reason: str | None = self._stream.received_finish_reason or self._stream.intermittent_finish_reason
        return reason

    @property
    def _has_finished(self) -> bool:
        if self._stream is None:
            return False
        return self._told is not None if self._gemini is None else self._gemini.finished

    async def _wait(self, awaitable: Awaitable[T]) -> T:
        """What comes of it, if that comes in time; else a `ModelError` that does not carry litellm's own."""
        try:
            async with asyncio.timeout_at(self._watch.due):
                return await awaitable
        except TimeoutError:
            failure = self._watch.late()
        except Exception as error:  # the boundary to litellm; its traceback repeats what the provider said
            failure = self._failure(getattr(error, "original_exception", None) or error)
        raise failure

    def _failure(self, error: BaseException) -> ModelError:
        self.words = f"{type(error).__name__}: {error}"
        causes = list(_causes(error))
        told = _first(causes, "body", of=dict)
        status = getattr(error, "status_code", None)
        if isinstance(error, self._library.ContextWindowExceededError):
            return ContextTooLong(status=status)
        # Of these two the status is not the provider's.
        unanswered = isinstance(error, self._library.APIConnectionError | self._library.Timeout)
        if isinstance(status, int) and not unanswered:
            return error_of_status(status, headers=_headers(causes), body=told or {"message": str(error)})
        if told:
            return error_in_stream(told)
        if self._stream is not None and any(isinstance(cause, UNREADABLE) for cause in causes):
            return Malformed()
        return Truncated() if self._heard else Unavailable()

    def _usage(self) -> list[Usage]:
        """As the provider told it: in one piece, in pieces, or as it grew."""
        told = [usage_from(chunk.usage.model_dump()) for chunk in self._stream.chunks if getattr(chunk, "usage", None)]
        counted = [usage for usage in told if usage is not None]
        if not counted:
            return []
        return [
            Usage(
                prompt=max(usage.prompt for usage in counted),
                completion=max(usage.completion for usage in counted),
                cached=max(usage.cached for usage in counted),
                reasoning=max(usage.reasoning for usage in counted),
            )
        ]


class _GeminiLines:
    """The lines of a Gemini stream, on their way to its parser, which does not tell two things: whether the finish
    reason has come (it takes each chunk for the last), and what it could not read."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._lines = parser.streaming_response
        self.finished = False
        parser.streaming_response = self

    def __aiter__(self) -> _GeminiLines:
        return self

    async def __anext__(self) -> str:
        line: str = await anext(self._lines)
        self.finished = self.finished or '"finishReason"' in line  # inside of a text its quotes would be escaped
        return line

    async def aclose(self) -> None:
        await self._lines.aclose()

    @property
    def left(self) -> str:
        """What still waits for the rest of its JSON."""
        left: str = self._parser.accumulated_json
        return left


@cache
def _library() -> Library:
    """litellm, quiet and offline. The first call takes seconds."""
    os.environ.update(OFFLINE)
    import litellm

    for name in QUIET:
        logging.getLogger(name).disabled = True
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    litellm.litellm_core_utils.url_utils.validate_url = _fetch_nothing
    litellm.suppress_debug_info = True
    litellm.disable_streaming_logging = True
    litellm.disable_token_counter = True  # for a cost that nobody asks for it would count each prompt, on the loop
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize  # else a hundred equal fragments are an error
    return litellm


def _fetch_nothing(address: str) -> NoReturn:
    """Where litellm asks whether it may fetch, to any size, an image for a provider that takes no addresses."""
    raise _library().ImageFetchError("An image for this provider is a data URL.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _first(errors: list[BaseException], name: str, *, of: type[T]) -> T | None:
    """The first attribute of that name and type which one of the errors has."""
    found = (getattr(error, name, None) for error in errors)
    return next((value for value in found if isinstance(value, of)), None)


def _headers(errors: list[BaseException]) -> Mapping[str, str]:
    """The answer's headers, wherever litellm has put them."""
    for error in errors:
        for holder in (error, getattr(error, "response", None)):
            for name in ("litellm_response_headers", "headers"):
                if headers := getattr(holder, name, None):
                    return {str(key).title(): str(value) for key, value in dict(headers).items()}
    return {}
