"""The few things that are asked over HTTP: whether a conversation is there, or a new one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from verbatim_client.errors import Refused, Unreachable, of_status, refusal

TIMEOUT = 30.0
"""Seconds."""


async def find_or_make(url: str, *, key: str, conversation: str | None) -> str:
    """The id of the conversation, a new one unless it is named. Raises `Refused` and `Unreachable`."""
    if conversation is None:
        made = await call("POST", f"{url}/api/v1/conversations/", key=key, body={})
    else:
        made = await call("GET", f"{url}/api/v1/conversations/{quote(conversation, safe='')}/", key=key)
    return str(made["id"])


async def call(method: str, address: str, *, key: str, body: Any = None) -> Any:
    """A request's JSON answer. Raises `Refused` and `Unreachable`."""
    try:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT) as client:
            response = await client.request(method, address, json=body)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unreachable(f"{address} could not be reached: {type(error).__name__}: {error}") from error
    if not response.is_success:
        raise _refused(response)
    try:
        return response.json()
    except ValueError:
        raise Unreachable(f"{address} answers, but not with JSON: is it a Verbatim site?") from None


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
        return refusal(str(problem["code"]), str(problem["detail"]), turn=problem.get("turn"))
    except (ValueError, KeyError, TypeError):
        return of_status(response.status_code, message=f"{response.request.url} was refused")
