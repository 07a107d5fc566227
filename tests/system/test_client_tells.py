"""What model calls cost, and their logs, on the side of the Python client: while a turn runs, on its own disk, and the
same for who comes later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.provider import ProviderProcess
from tests.server import ServerProcess, Site
from verbatim_client import AsyncRemoteConversation, Event, Forbidden

MODEL = "acme/claude-3-5-sonnet-latest"
PRICED = {"name": "priced", "model": MODEL, "prices": {"input": 1_000, "output": 10_000}, "context_window": 1_000}

AUDITOR = """
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
call_command("create_api_key", "auditor", "--create-user")
may = Permission.objects.get(codename="view_completioncontent")
User.objects.get(username="auditor").user_permissions.add(may)
"""


@pytest.fixture(scope="module")
def server(site: Site, provider_process: ProviderProcess) -> Iterator[ServerProcess]:
    """One whose model has prices."""
    profile = {**PRICED, "base_url": provider_process.base_url}
    chat = {"PROFILES": [profile], "DEFAULT_PROFILE": "priced", "COMPLETION_LOGS": "full"}
    with site.start("uvicorn", chat=chat) as process:
        yield process


@pytest.fixture(scope="module")
def auditor(site: Site) -> str:
    """The key of a user who may read what models were asked and answered."""
    return site.manage("shell", "-v", "0", "-c", AUDITOR).strip()


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}}


def written(folder: Path) -> dict[str, Any]:
    """The logs in a folder by their names, all of which were read as UTF-8."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}


async def test_cost_moves_while_a_turn_runs_and_every_log_lands_on_the_clients_disk(
    server: ServerProcess, key: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    call = {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "17 * 23"}'}
    provider.script([[{"tool": call}, usage(20, 10)], [{"text": "It is 391."}, {"gate": "on"}, usage(40, 5)]])
    costs: list[Decimal | None] = []
    seen: list[tuple[str, int]] = []
    counted = asyncio.Event()
    conversation = AsyncRemoteConversation(
        server.url, key=key, log_folders={"agent": tmp_path / "first"}, log_content=False
    )

    def heard(event: Event) -> None:
        seen.append((event.kind, conversation.stats.conversation.calls))
        if event.kind == "stats":
            costs.append(conversation.stats.cost)
            counted.set()

    conversation.on(Event, heard)
    async with asyncio.timeout(60), conversation:
        turn = await conversation.send("What is it?")
        await counted.wait()
        running = (conversation.active_turn, conversation.stats.conversation, list(costs))
        await asyncio.to_thread(provider.open_gate, "on")
        await conversation.answer(turn)
        stats = conversation.stats
        async with AsyncRemoteConversation(
            server.url,
            key=key,
            conversation=conversation.id,
            log_folders={"agent": tmp_path / "later"},
            log_content=False,
        ) as later:
            same = later.stats

    first, between, before = running
    assert (first, between.calls, between.prompt) == (turn, 1, 20)
    assert before == [Decimal("0.12")]
    assert costs == [Decimal("0.12"), Decimal("0.21")]
    assert stats.conversation.cost == Decimal("0.21")
    assert [calls for kind, calls in seen if kind == "completion_log"] == [1, 2]
    assert (stats.usage["agent"].model, stats.usage["agent"].context_share) == (MODEL, 0.045)
    assert same == stats
    logs = written(tmp_path / "first")
    assert len(logs) == 2
    assert all(name.startswith("acme__claude-3-5-sonnet-latest-") for name in logs)
    assert {log["model"] for log in logs.values()} == {MODEL}
    assert written(tmp_path / "later") == logs


async def test_what_was_asked_and_answered_comes_live_and_later_to_who_may_read_it(
    server: ServerProcess, auditor: str, key: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.script([{"text": "שלום 😀"}])
    async with asyncio.timeout(60):
        async with AsyncRemoteConversation(
            server.url, key=auditor, log_folders={"agent": tmp_path / "live"}
        ) as conversation:
            await conversation.ask("Grüße, Bearer sk-0123456789abcdefghijklmnop")
        async with AsyncRemoteConversation(
            server.url, key=auditor, conversation=conversation.id, log_folders={"agent": tmp_path / "later"}
        ):
            pass
        with pytest.raises(Forbidden):
            async with AsyncRemoteConversation(server.url, key=key, log_folders={"agent": tmp_path / "none"}):
                pytest.fail("entered")

    logs = written(tmp_path / "live")
    [log] = logs.values()
    assert log["content"]["response"]["text"] == "שלום 😀"
    assert "Grüße" in json.dumps(log["content"]["messages"], ensure_ascii=False)
    assert "sk-0123456789abcdefghijklmnop" not in json.dumps(logs)
    assert written(tmp_path / "later") == logs
    assert not (tmp_path / "none").exists()
