"""Thumbs under an answer: shown at once, kept by the server, taken back when it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.browser.test_chat_page import answer, ask, expect_idle
from tests.provider import ProviderProcess
from tests.server import ServerProcess

UP, DOWN = "Good answer", "Bad answer"
ADD, EDIT = "Add a comment", "Edit your comment"


@pytest.fixture
def answered(chat: Page, provider: ProviderProcess) -> Page:
    """The page with an answer on it."""
    provider.script([{"text": "It is so."}])
    ask(chat, "Is it?")
    expect(answer(chat)).to_contain_text("It is so.")
    expect_idle(chat)
    return chat


def button(page: Page, name: str) -> Locator:
    """A button under the last answer."""
    return answer(page).get_by_role("button", name=name, exact=True)


def expect_pressed(page: Page, *, up: bool, down: bool) -> None:
    expect(button(page, UP)).to_have_attribute("aria-pressed", str(up).lower())
    expect(button(page, DOWN)).to_have_attribute("aria-pressed", str(down).lower())


def click(page: Page, name: str) -> Any:
    """Click a thumb, and wait for the server's answer."""
    with page.expect_response("**/api/v1/ai/feedback/") as response:
        button(page, name).click()
    return response.value


def test_there_is_nothing_to_judge_while_an_answer_comes(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "The first half"}, {"gate": "rest"}, {"text": "."}])
    ask(chat, "Is it?")
    expect(answer(chat)).to_contain_text("The first half")

    expect(button(chat, UP)).to_have_count(0)
    provider.open_gate("rest")

    expect_pressed(chat, up=False, down=False)
    expect(button(chat, ADD)).to_have_count(0)


def test_a_thumb_is_remembered_changed_and_taken_back(answered: Page) -> None:
    assert click(answered, UP).status == 201
    answered.reload()
    expect_pressed(answered, up=True, down=False)

    assert click(answered, DOWN).status == 200
    answered.reload()
    expect_pressed(answered, up=False, down=True)

    assert click(answered, DOWN).status == 204
    answered.reload()
    expect_pressed(answered, up=False, down=False)


def test_a_comment_is_written_and_changed_with_the_keyboard_alone(answered: Page) -> None:
    keyboard = answered.keyboard
    button(answered, DOWN).focus()
    keyboard.press("Enter")
    expect_pressed(answered, up=False, down=True)
    expect(button(answered, DOWN)).to_be_focused()

    keyboard.press("Tab")
    keyboard.press("Enter")
    keyboard.type("It is <b>not</b>")
    with answered.expect_response("**/api/v1/ai/feedback/"):
        keyboard.press("Enter")
    expect(button(answered, EDIT)).to_be_focused()
    answered.reload()

    expect(answer(answered).locator(".comment")).to_have_text("It is <b>not</b>")
    expect_pressed(answered, up=False, down=True)
    button(answered, EDIT).press("Enter")
    expect(answer(answered).get_by_role("textbox")).to_have_value("It is <b>not</b>")
    keyboard.press("Escape")
    expect(answer(answered).get_by_role("textbox")).to_have_count(0)
    expect(answer(answered).locator(".comment")).to_have_text("It is <b>not</b>")


def test_the_other_thumb_forgets_the_comment(answered: Page) -> None:
    click(answered, UP)
    button(answered, ADD).click()
    answer(answered).get_by_role("textbox").fill("Well said")
    with answered.expect_response("**/api/v1/ai/feedback/"):
        answer(answered).get_by_role("button", name="Save").click()
    expect(answer(answered).locator(".comment")).to_have_text("Well said")

    click(answered, DOWN)

    expect(answer(answered).locator(".comment")).to_be_hidden()
    expect(button(answered, ADD)).to_be_visible()


def test_clicks_in_quick_succession_reach_the_server_one_after_the_other(answered: Page) -> None:
    traffic: list[str] = []

    def note(what: str, request: Request) -> None:
        if "/ai/feedback/" in request.url:
            traffic.append(what)

    answered.on("request", lambda request: note("asked", request))
    answered.on("requestfinished", lambda request: note("answered", request))

    with answered.expect_event("requestfinished", lambda request: '"sentiment":1' in (request.post_data or "")):
        answer(answered).evaluate("(answer) => answer.querySelectorAll('[aria-pressed]').forEach((one) => one.click())")

    assert traffic == ["asked", "answered"] * 2
    answered.reload()
    expect_pressed(answered, up=False, down=True)


def test_what_the_server_refuses_is_taken_back_and_said(
    visitor: BrowserContext, server: ServerProcess, provider: ProviderProcess
) -> None:
    page = visitor.new_page()  # another one, because the browser complains of a refusal
    page.goto(server.url)
    provider.script([{"text": "It is so."}])
    ask(page, "Is it?")
    click(page, UP)
    page.route(
        "**/api/v1/ai/feedback/",
        lambda route: route.fulfill(status=503, body='{"detail": "Please try again."}'),
    )

    click(page, DOWN)

    expect_pressed(page, up=True, down=False)
    expect(page.locator("#notice")).to_contain_text("Please try again.")


def test_feedback_is_read_once_per_visit_and_not_at_all_in_a_new_conversation(
    chat: Page, provider: ProviderProcess
) -> None:
    asked: list[str] = []
    chat.on("request", lambda request: asked.append(request.url) if request.url.endswith("/feedback/") else None)
    provider.script([{"text": "It is so."}])
    for number in range(2):
        ask(chat, "Is it?")
        expect(answer(chat, number).get_by_role("button", name=UP)).to_be_visible()
    assert asked == []

    with chat.expect_response("**/feedback/"):
        chat.reload()
    expect(answer(chat, 1)).to_contain_text("It is so.")

    assert len(asked) == 1
