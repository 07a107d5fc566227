"""A conversation of five turns with a provider that we did not write: what the page shows is what is stored.

With SCREENSHOTS=folder every state on the way is photographed, in light and dark, wide and narrow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.independent import IndependentProvider
from tests.server import ServerProcess
from tests.template import Template, site_on

FOLDER = os.environ.get("SCREENSHOTS")
PAUSE = 20 if FOLDER else 6
"""Seconds for which an answer waits in its middle: enough for a reload, or for the photographs."""
WORDS = (
    "Grüße 😀 an alle, שלום עולם, e\u0301, 你好 and 👩\u200d👩\u200d👧, word by word: "
    + ", ".join(f"word {number}" for number in range(40))
    + "."
)

SHOWN = """() => Array.from(document.querySelectorAll(".turn"), (turn) => ({
    turn: turn.dataset.turn,
    said: turn.querySelector(".bubble").textContent,
    texts: Array.from(turn.querySelectorAll(".hop > .markdown"), (text) => text.textContent),
    results: Array.from(turn.querySelectorAll(".tool-section:nth-child(2) pre"), (result) => result.textContent),
}))"""
RENDERED = """async (text) => {
    const { MarkdownStream } = await import("/static/verbatim/stream.js");
    const element = document.createElement("div");
    new MarkdownStream(element).end(text);
    return element.textContent;
}"""
PRETTY = "(text) => { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } }"


@pytest.fixture(scope="module")
def provider_process() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=25) as process:
        yield process


@pytest.fixture(scope="module")
def server(
    provider_process: IndependentProvider, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A site whose real model is the independent provider's, beside the demo."""
    file = tmp_path_factory.mktemp("five-turns") / "site.sqlite3"
    env = {"DEBUG": "1", "OPENAI_MODEL": "llmock"}
    site = site_on(template, file, provider_url=provider_process.base_url, env=env)
    with site.start("daphne") as process:
        yield process


def ask(page: Page, text: str) -> Locator:
    """Send it; the turn that it begins."""
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")
    expect(page.locator(".bubble").last).to_have_text(text)
    return page.locator(".turn").last


def expect_idle(page: Page) -> None:
    expect(page.locator("#composer")).to_have_attribute("data-mode", "idle", timeout=40_000)
    expect(page.get_by_role("log")).to_have_attribute("aria-busy", "false")


def stored(page: Page) -> list[dict[str, Any]]:
    """The log by REST, as the same visitor."""
    answer = page.request.get(page.url.replace("/c/", "/api/v1/conversations/") + "events/?limit=500")
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


def expect_as_stored(page: Page, turns: int) -> None:
    """Of each turn on the page: the question, the text of every hop and every tool's result."""
    expect(page.locator(".turn")).to_have_count(turns)
    expect_idle(page)
    shown = page.evaluate(SHOWN)
    events = stored(page)
    for turn in shown:
        data = [(event["kind"], event["data"]) for event in events if event["turn"] == turn["turn"]]
        texts = [data["text"] for kind, data in data if kind == "assistant_message"]
        results = [data["content"] for kind, data in data if kind == "tool_result"]
        assert turn["texts"] == [page.evaluate(RENDERED, text) for text in texts]
        assert turn["results"] == [page.evaluate(PRETTY, result) for result in results]


def photograph(page: Page, name: str) -> None:
    if FOLDER is None:
        return
    for width, height in ((390, 844), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=Path(FOLDER) / f"{name}-{width}-{scheme}.png", animations="disabled")


def test_five_turns_with_tools_and_every_way_to_interfere(
    chat: Page, provider: IndependentProvider, visitor: BrowserContext
) -> None:
    chat.set_viewport_size({"width": 1280, "height": 800})
    photograph(chat, "00-welcome")

    let_the_provider_choose_a_tool(chat)
    expect_as_stored(chat, 1)
    reload_in_the_middle(chat, provider)
    expect_as_stored(chat, 2)
    stop(chat, provider)
    expect_as_stored(chat, 3)
    try_again_and_answer_again(chat, provider)
    expect_as_stored(chat, 4)
    ask_another_model_and_edit(chat, provider)
    expect_as_stored(chat, 5)

    assert provider.findings() == {"no_read_timeout"}, "a pause is sat through, and that is all"
    before = chat.evaluate(SHOWN)
    chat.reload()
    expect_as_stored(chat, 5)
    assert chat.evaluate(SHOWN) == before
    visitor.set_offline(True)
    expect(chat.locator("#connection")).to_be_visible()
    photograph(chat, "14-offline")


def let_the_provider_choose_a_tool(page: Page) -> None:
    turn = ask(page, "What is the current time in this time zone?")

    card = turn.locator(".tool")
    expect(card).to_have_attribute("data-state", "done")
    expect_idle(page)
    photograph(page, "01-tool-folded")
    expect(card.locator(".tool-name")).to_have_text("current_time")
    card.locator("summary").click()
    expect(card.locator("pre").last).to_contain_text('"time_zone": "UTC"')
    photograph(page, "02-tool-open")


def reload_in_the_middle(page: Page, provider: IndependentProvider) -> None:
    provider.call_tool("calculator", expression="(17 * 23 + 9) / sqrt(16)")
    provider.pause(after=3, seconds=PAUSE / 3)  # in the arguments
    provider.reply(WORDS)
    provider.pause(after=20, seconds=PAUSE)

    turn = ask(page, "Please calculate (17 * 23 + 9) / sqrt(16), in many words")
    expect(turn.locator(".tool")).to_have_attribute("data-state", "preparing")
    photograph(page, "03-tool-preparing")
    expect(turn).to_contain_text("word 1,", timeout=2000 * PAUSE)
    photograph(page, "04-answering")
    page.reload()

    turn = page.locator(".turn").last
    expect(turn).to_contain_text("word 1,")
    expect(page.locator("#composer")).to_have_attribute("data-mode", "answering")
    expect(turn.locator(".tool")).to_have_attribute("data-state", "done")
    expect(turn.locator(".hop > .markdown").last).to_have_text(WORDS, timeout=40_000)
    assert [request["completed"] for request in provider.requests()[-2:]] == [True, True]
    expect(turn.locator("pre").last).to_have_text("100")


def stop(page: Page, provider: IndependentProvider) -> None:
    provider.reply(WORDS)
    provider.pause(after=20, seconds=60)
    turn = ask(page, "Go on for ever")
    expect(turn).to_contain_text("word 1,")

    page.get_by_role("button", name="Stop the answer").click()

    expect(turn.locator(".answer-note")).to_have_text("Stopped.")
    kept = turn.locator(".hop > .markdown").last.text_content() or ""
    assert WORDS.startswith(kept.strip())
    assert not provider.requests()[-1]["completed"]
    photograph(page, "05-stopped")


def try_again_and_answer_again(page: Page, provider: IndependentProvider) -> None:
    provider.reply(WORDS)
    provider.truncate(after=12)
    ask(page, "Tell me all of it")
    turn = page.locator(".turn").last
    expect(turn.locator(".failure")).to_contain_text("The answer could not be finished")
    expect(turn).to_contain_text("Grüße 😀")
    photograph(page, "06-failed")
    provider.reply("All of it.")

    turn.get_by_role("button", name="Try again").click()
    expect(turn.locator(".hop > .markdown")).to_have_text("All of it.")
    expect_as_stored(page, 4)
    provider.reply("All of it, once more.")
    turn.get_by_role("button", name="Answer again").click()
    expect(turn.locator(".hop > .markdown")).to_have_text("All of it, once more.")
    expect_as_stored(page, 4)

    expect(turn.locator(".stepper-count")).to_have_text("3 / 3")
    photograph(page, "07-versions")
    turn.get_by_role("button", name="Earlier version").click()
    expect(turn.locator(".hop > .markdown")).to_have_text("All of it.")
    expect_as_stored(page, 4)
    photograph(page, "08-earlier-version")
    turn.get_by_role("button", name="Earlier version").click()
    expect(turn).to_contain_text("The answer could not be finished")
    expect_as_stored(page, 4)
    page.get_by_role("button", name="Show the latest").click()
    expect(turn.locator(".hop > .markdown")).to_have_text("All of it, once more.")


def ask_another_model_and_edit(page: Page, provider: IndependentProvider) -> None:
    had = len(provider.requests())
    page.get_by_label("Model").select_option("demo")
    asked = "Think step by step: what time is it in Tokyo, and what is 6 * 7?"
    turn = ask(page, asked)
    if FOLDER:
        expect(turn.locator(".reasoning.thinking")).to_be_visible()
        photograph(page, "09-thinking")
    expect_as_stored(page, 5)
    expect(turn.locator(".tool")).to_have_count(2)
    turn.locator(".reasoning summary").first.click()
    photograph(page, "10-two-tools-and-reasoning")
    assert len(provider.requests()) == had, "the demo asks nobody"

    page.get_by_label("Model").select_option("openai")
    provider.call_tool("calculator", expression="1 / 0")
    provider.reply("That has **no value**, see `1 / 0`.")
    turn.hover()
    turn.get_by_role("button", name="Edit your message").click()
    page.get_by_role("textbox", name="Edit your message").fill("And what is 1 / 0?")
    photograph(page, "11-editing")
    page.keyboard.press("Enter")

    expect(page.locator(".turn").last.locator(".bubble")).to_have_text("And what is 1 / 0?")
    turn = page.locator(".turn").last
    expect(turn.locator(".tool")).to_have_attribute("data-state", "error")
    expect(turn.locator(".hop > .markdown").last).to_have_text("That has no value, see 1 / 0.")
    expect_as_stored(page, 5)
    photograph(page, "12-edited")
    page.get_by_role("button", name="Earlier version").last.click()
    expect(page.locator(".bubble").last).to_have_text(asked)
    expect_as_stored(page, 5)
    photograph(page, "13-step-back")
    page.get_by_role("button", name="Later version").last.click()
    expect(page.locator(".bubble").last).to_have_text("And what is 1 / 0?")
