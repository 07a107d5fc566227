"""What model calls cost, and their logs, on the side of the Python client: while a turn runs, on its own disk, and the
same for who comes later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.provider import ProviderProcess
from tests.server import ServerProcess, Site
from tests.system.alone import USAGE_IDS, lone
from verbatim_client import AsyncRemoteConversation, Forbidden

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
    chat = {"PROFILES": [profile], "DEFAULT_PROFILE": "priced", "COMPLETION_LOGS": "full", "TITLES": True}
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


async def test_cost_moves_while_a_turn_runs_and_every_log_lands_in_the_folder_of_its_usage_id(
    server: ServerProcess, key: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    """A0.2, A0.4, A0.12, A0.17, A0.20: where there is no Django, of one model in two roles."""
    call = {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "17 * 23"}'}
    answer = [{"text": "It is 391."}, {"gate": "on"}, usage(40, 5)]
    provider.script(queue=[[{"tool": call}, usage(20, 10)], answer, [{"text": "A product"}, usage(30, 2)]])
    live = tmp_path / "live"
    live.mkdir()
    async with lone(server, key, live, text="What is it?") as client:
        heard = [await client.until("stats")]
        await asyncio.to_thread(provider.open_gate, "on")
        heard += [await client.until("stats"), await client.until("turn_ended"), await client.until("stats")]
        end = await client.until("end")
    folders = {usage_id: tmp_path / "later" / usage_id for usage_id in USAGE_IDS}
    async with (
        asyncio.timeout(60),
        AsyncRemoteConversation(
            server.url, key=key, conversation=end["conversation"], log_folders=folders, log_content=False
        ) as later,
    ):
        same = later.stats

    assert [(each["kind"], each["calls"], each["cost"]) for each in heard] == [
        ("stats", 1, "0.12000000"),
        ("stats", 2, "0.21000000"),
        ("turn_ended", 2, "0.21000000"),
        ("stats", 3, "0.26000000"),
    ]
    assert [each["calls"] for each in client.told if each["kind"] == "completion_log"] == [1, 2, 3]
    assert end["foreign"] == []
    assert end["stats"] == json.loads(json.dumps(asdict(same), default=str))
    assert {usage_id: (used.calls, used.model) for usage_id, used in same.usage.items()} == {
        "agent": (2, MODEL),
        "title": (1, MODEL),
    }
    assert same.usage["agent"].context_share == 0.045
    for usage_id, costs in {"agent": ["0.09000000", "0.12000000"], "title": ["0.05000000"]}.items():
        logs = written(live / usage_id)
        assert sorted(log["cost"] for log in logs.values()) == costs
        assert {(log["usage_id"], log["model"]) for log in logs.values()} == {(usage_id, MODEL)}
        assert all(name.startswith("acme__claude-3-5-sonnet-latest-") for name in logs)
        assert written(tmp_path / "later" / usage_id) == logs


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
