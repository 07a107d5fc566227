"""Every model call's log lands on the client's disk: once, whole, in the folder of its usage id, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider import ROOT
from tests.readme import examples
from tests.verbatim_client.scripted import ID, ScriptedSite, event, saying, scripted
from verbatim_client import AsyncRemoteConversation, Event
from verbatim_client.completion_logs import CompletionLogs, is_plain, write
from verbatim_client.frames import parse

CONTENT = {"messages": [{"role": "user", "content": "Grüße 😀"}], "response": {"text": "שלום"}}
NAME = "anthropic__claude-3-5-sonnet-latest-1763712345.678-9f3a.json"


def log(seq: int = 1, *, usage_id: str = "agent", filename: str = NAME, **data: Any) -> dict[str, Any]:
    model = "anthropic/claude-3-5-sonnet-latest"
    return event(seq, "completion_log", usage_id=usage_id, model=model, filename=filename, **data)


def reader(server: ScriptedSite, **options: Any) -> AsyncRemoteConversation:
    return AsyncRemoteConversation(server.url, key="k", conversation=ID, **options)


def framed(frame: dict[str, Any]) -> Event:
    parsed = parse(json.dumps(frame))
    assert isinstance(parsed, Event)
    return parsed


def files(folder: Path) -> dict[str, Any]:
    """All below it, read as UTF-8."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): json.loads(path.read_text(encoding="utf-8")) for path in found}


async def test_two_models_of_one_name_are_told_apart_by_their_usage_ids(tmp_path: Path) -> None:
    title = NAME.replace("9f3a", "0000")
    site = saying(log(1, content=CONTENT), log(2, usage_id="title", filename=title), event(3, "user_message"))
    folders = {"agent": tmp_path / "agents" / "one", "title": tmp_path / "titles"}
    async with (
        scripted(site) as server,
        reader(server, log_folders=folders) as remote,
    ):
        kept = [event.data for event in remote.log.events]

    written = files(tmp_path)
    assert set(written) == {f"agents/one/{NAME}", f"titles/{title}"}
    assert written[f"agents/one/{NAME}"]["content"] == CONTENT
    assert {said["model"] for said in written.values()} == {"anthropic/claude-3-5-sonnet-latest"}
    assert written[f"titles/{title}"]["turn"] == "t"
    assert "content" not in kept[0]
    assert server.asked[-1].endswith("/?after=&logs=content")


def test_what_is_written_is_utf_8_and_not_escaped(tmp_path: Path) -> None:
    CompletionLogs({"agent": tmp_path}, with_content=True).take(framed(log(content={"text": "Grüße 😀 \ud83d!"})))

    text = (tmp_path / NAME).read_text(encoding="utf-8")
    assert "Grüße 😀 \\ud83d!" in text
    assert json.loads(text)["content"]["text"] == "Grüße 😀 \ud83d!"


def test_a_log_of_an_unknown_usage_id_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = CompletionLogs({"agent": tmp_path}, with_content=False)

    logs.take(framed(log(usage_id="summary")))

    assert files(tmp_path) == {}
    assert [(record.levelno, "'summary'" in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_folders_are_looked_up_when_a_log_comes(tmp_path: Path) -> None:
    folders: dict[str, Path] = {}
    logs = CompletionLogs(folders, with_content=False)
    folders["agent"] = tmp_path / "late"

    logs.take(framed(log()))

    assert set(files(tmp_path)) == {f"late/{NAME}"}


@given(st.text(max_size=20) | st.sampled_from(["../up.json", "/etc/x.json", "a/b.json", "..", "a\\b.json", ".x.json"]))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    assert not is_plain(name) or (Path("folder") / name).parent == Path("folder")
    assert not any(
        is_plain(wrong) for wrong in (f"../{name}.json", f"{name}/x.json", f".{name}.json", f"{name}\0.json")
    )
    assert is_plain(NAME)
    assert is_plain("llama3:8b-1763712345.678-9f3a.json")
    assert not is_plain("é" * 126 + ".json")


def test_a_name_that_leads_elsewhere_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CompletionLogs({"agent": tmp_path / "in"}, with_content=False).take(framed(log(filename="../out.json")))

    assert files(tmp_path) == {}
    assert "'../out.json' is no name for a file" in caplog.text


def test_what_is_there_is_not_replaced_by_a_log_whose_content_was_purged(tmp_path: Path) -> None:
    logs = CompletionLogs({"agent": tmp_path}, with_content=True)
    logs.take(framed(log(content=CONTENT)))

    logs.take(framed(log()))

    assert files(tmp_path)[NAME]["content"] == CONTENT


def test_a_log_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        assert not Path(target).exists()
        assert json.loads(Path(source).read_text(encoding="utf-8")) == {"a": 1}
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, NAME, log={"a": 1})

    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_written_hurts_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    folders = {"agent": tmp_path / "file" / "below"}
    site = saying(log(1), event(2, "user_message"))
    async with (
        scripted(site) as server,
        reader(server, log_folders=folders) as remote,
    ):
        assert [event.kind for event in remote.log.events] == ["completion_log", "user_message"]

    assert "a completion log could not be written" in caplog.text


async def test_the_example_does_what_it_says(tmp_path: Path) -> None:
    totals = {"calls": 1, "cost": "0.5"}
    stats = event(1, "stats", usage={"agent": {"model": "claude-3-5-sonnet-latest"}}, conversation=totals)
    async with scripted(saying(stats, log(2, content=CONTENT))) as server:
        program = (
            f"URL, KEY, CONVERSATION = {server.url!r}, 'k', {ID!r}\n" + examples(ROOT / "client/README.md")["logs.py"]
        )
        python = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "client")}, stdout=PIPE
        )
        said, _ = await python.communicate()

    assert said.decode() == "1 0.5\nclaude-3-5-sonnet-latest\n"
    assert set(files(tmp_path)) == {f"logs/agent/{NAME}"}


async def test_who_wants_no_content_does_not_ask_for_it_and_who_wants_no_logs_writes_none(tmp_path: Path) -> None:
    async with scripted(saying(log(1))) as server:
        async with AsyncRemoteConversation(
            server.url, key="k", conversation=ID, log_folders={"agent": tmp_path}, log_content=False
        ):
            pass
        written = files(tmp_path)
        async with reader(server):
            pass

    assert set(written) == {NAME}
    assert set(files(tmp_path)) == {NAME}
    assert [path for path in server.asked if "logs=" in path] == []
    assert server.keys == {"Bearer k"}
