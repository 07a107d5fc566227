"""Requests that take long, without a thread each: views that hand back a result which is still to come.

A view checks the request in Django's thread, as every view does. What it waits for afterwards is awaited on the event
loop, when thread and database connection have been given back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

Finish = Callable[[], Awaitable[HttpResponseBase]]


class Pending(HttpResponse):
    """A response that is still to come. Headers that are set on it are set on that one too."""

    def __init__(self, finish: Finish) -> None:
        super().__init__()
        self.finish = finish


def awaited(view: Callable[..., HttpResponseBase]) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """The asynchronous view of a synchronous one that may answer `Pending`."""

    @wraps(view)
    async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await sync_to_async(view)(request, *args, **kwargs)
        if not isinstance(response, Pending):
            return response
        await leave_thread()
        finished = await response.finish()
        for name, value in response.items():
            if name != "Content-Type":
                finished.headers.setdefault(name, value)
        return finished

    for alias in connections:
        answer = transaction.non_atomic_requests(alias)(answer)  # who waits must not hold a transaction open
    return answer


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
