"""The process that writes an answer is killed while clients of OpenAI's, at other processes, read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import openai
from openai import AsyncOpenAI

from tests.provider import ProviderProcess
from tests.server import KINDS, NewSite

QUICK = {"POSITION_POLL": 0.2}
"""So that those who only read hear of it soon. The lease is as it comes: a shorter one may lapse on a busy machine."""
ASKED: Any = {"model": "openai", "messages": [{"role": "user", "content": "Go on."}], "stream": True}
KEYED = {"Idempotency-Key": "of-all"}


async def texts(sdk: AsyncOpenAI) -> AsyncIterator[str]:
    """What comes, piece by piece, of the one answer."""
    async for chunk in await sdk.chat.completions.create(**ASKED, extra_headers=KEYED):
        if said := chunk.choices[0].delta.content:
            yield said


async def test_readers_elsewhere_are_told_to_ask_again_and_then_have_the_whole_answer(
    new_site: NewSite, provider: ProviderProcess
) -> None:
    """R10, R11: two readers at two processes that go on, of one turn at a process that does not."""
    half, whole = [{"text": "Good "}, {"gate": "never"}], [{"text": "Good day."}]
    provider.script(whole, queue=[half])
    site, key = new_site()
    async with AsyncExitStack() as stack:
        owner, *others = [stack.enter_context(site.start(kind, chat=QUICK)) for kind in ("uvicorn", *KINDS)]
        sdks = [
            await stack.enter_async_context(AsyncOpenAI(base_url=f"{each.url}/v1", api_key=key, max_retries=0))
            for each in (owner, *others)
        ]
        streams = [await stack.enter_async_context(aclosing(texts(sdk))) for sdk in sdks]  # type: ignore[type-var]
        assert [await anext(stream) for stream in streams] == ["Good "] * 3

        await asyncio.to_thread(owner.kill)
        endings = await asyncio.gather(*map(ending, streams[1:]))
        again = await asyncio.gather(*map(all_of, sdks[1:]))

    assert endings == ["answer_restarted"] * 2
    assert again == ["Good day."] * 2
    assert len(provider.log()) == 2


async def ending(stream: AsyncIterator[str]) -> object:
    """The code with which a stream ends that says no more."""
    try:
        return "".join([said async for said in stream])
    except openai.APIError as broken:
        return broken.code


async def all_of(sdk: AsyncOpenAI) -> str:
    """The whole answer."""
    return "".join([said async for said in texts(sdk)])
