"""Requests that take long, without a thread each: views that hand back a result which is still to come.

A view checks the request in Django's thread, as every view does. What it waits for afterwards is awaited on the event
loop, when thread and database connection have been given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming.database import in_order_thread

Finish = Callable[[], Awaitable[HttpResponseBase]]


class Pending(HttpResponse):
    """A response that is still to come. Headers that are set on it are set on that one too. `abandon` is what to do if
    the client has left before `finish` is asked for, which sees for itself what happens after that; it may be done
    twice."""

    def __init__(self, finish: Finish, *, abandon: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.finish = finish
        self.abandon = abandon


def awaited(view: Callable[..., HttpResponseBase]) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """The asynchronous view of a synchronous one that may answer `Pending`."""

    @wraps(view)
    async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        call = _Call(view)
        try:
            response = await sync_to_async(call)(request, *args, **kwargs)
            if not isinstance(response, Pending):
                return response
            await leave_thread()
        except asyncio.CancelledError:
            await call.leave()
            raise
        finished = await response.finish()
        for name, value in response.items():
            if name != "Content-Type":
                finished.headers.setdefault(name, value)
        return finished

    for alias in connections:
        answer = transaction.non_atomic_requests(alias)(answer)  # who waits must not hold a transaction open
    return answer


class _Call:
    """A view at work in its thread, which goes on though the client leaves. Whoever is later sees that the other was
    there, so that what the view has begun is abandoned."""

    def __init__(self, view: Callable[..., HttpResponseBase]) -> None:
        self._view = view
        self._response: HttpResponseBase | None = None
        self._is_left = False

    def __call__(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._response = response = self._view(*args, **kwargs)
        if self._is_left and isinstance(response, Pending):
            response.abandon()
        return response

    async def leave(self) -> None:
        self._is_left = True
        if isinstance(self._response, Pending):
            await in_order_thread(self._response.abandon)


async def leave_thread() -> None:
    """Give back the thread that Django keeps for this request, and its database connection. What needs a thread later
    gets a new one; but where a middleware without a loop waits in the thread, it goes on in it, and Django must find
    there what it has opened."""
    await sync_to_async(_close_connections)()
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is not None:
        executor = SyncToAsync.context_to_thread_executor.pop(context, None)
        if executor is not None:
            executor.shutdown(wait=False)


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
