"""The page in front of a real server: asking, reading, stopping, trying again, and coming back."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.corpus import ATTACKS
from tests.provider import ProviderProcess

CLOCK = {"tool": {"index": 0, "id": "c1", "name": "current_time", "arguments": '{"time_zone": "Asia/Tokyo"}'}}
SUM = {"tool": {"index": 0, "id": "c1", "name": "calculator", "arguments": '{"expression": "1 / 0"}'}}


def ask(page: Page, text: str) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")


def answer(page: Page, number: int = -1) -> Locator:
    return page.locator(".answer").nth(number)


def expect_idle(page: Page) -> None:
    expect(page.locator("#composer")).to_have_attribute("data-mode", "idle")


def half_then(rest: str) -> list[Any]:
    """A script that says half a sentence and waits at a gate."""
    return [{"text": "The first half"}, {"gate": "rest"}, {"text": rest}]


def test_a_first_message_makes_a_conversation_and_is_answered(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "Hello **you**."}])

    ask(chat, "Good morning\nand more")

    expect(answer(chat).locator("strong")).to_have_text("you")
    expect_idle(chat)
    expect(chat.locator(".item-title")).to_have_text("Good morning")
    expect(chat.locator("#conversation-title")).to_have_text("Good morning")
    assert "/c/" in chat.url


def test_a_suggestion_is_asked_at_a_click(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "Soon."}])

    chat.get_by_role("button", name="What time is it in Tokyo?").click()

    expect(chat.locator(".bubble")).to_have_text("What time is it in Tokyo?")
    expect(answer(chat)).to_contain_text("Soon.")


def test_a_reload_in_mid_sentence_goes_on_where_it_was(chat: Page, provider: ProviderProcess) -> None:
    provider.script(half_then(" and the second."))
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")

    chat.reload()
    expect(answer(chat)).to_contain_text("The first half")
    provider.open_gate("rest")

    expect(answer(chat).locator(".markdown").last).to_have_text("The first half and the second.")
    assert len(provider.log()) == 1


def test_a_second_tab_shows_the_same_sentence(chat: Page, visitor: BrowserContext, provider: ProviderProcess) -> None:
    provider.script(half_then(" and the second."))
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")

    other = visitor.new_page()
    other.goto(chat.url)
    expect(answer(other)).to_contain_text("The first half")
    provider.open_gate("rest")

    expect(answer(other)).to_contain_text("The first half and the second.")
    expect_idle(other)
    expect_idle(chat)
    assert answer(chat).locator(".hops").inner_html() == answer(other).locator(".hops").inner_html()


def test_while_an_answer_comes_the_log_is_busy_and_not_afterwards(chat: Page, provider: ProviderProcess) -> None:
    provider.script(half_then(" and the second."))
    log = chat.get_by_role("log")

    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")
    expect(log).to_have_attribute("aria-busy", "true")
    provider.open_gate("rest")

    expect(log).to_have_attribute("aria-busy", "false")
    expect(log).to_have_attribute("aria-live", "polite")
    expect(chat.locator("#announcer")).to_have_text("The answer is complete.")


def test_escape_stops_an_answer_and_keeps_what_was_said(chat: Page, provider: ProviderProcess) -> None:
    provider.script(half_then(" never"))
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")

    chat.keyboard.press("Escape")

    expect(answer(chat).locator(".answer-note")).to_have_text("Stopped.")
    expect(answer(chat).locator(".markdown").last).to_have_text("The first half")
    expect_idle(chat)


def test_the_stop_button_stops_too(chat: Page, provider: ProviderProcess) -> None:
    provider.script(half_then(" never"))
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")

    chat.get_by_role("button", name="Stop the answer").click()

    expect(answer(chat).locator(".answer-note")).to_have_text("Stopped.")


def test_a_tool_is_shown_with_its_arguments_and_its_result(chat: Page, provider: ProviderProcess) -> None:
    provider.script([[CLOCK], [{"text": "It is late."}]])

    ask(chat, "What time is it?")

    card = answer(chat).locator(".tool")
    expect(card).to_have_attribute("data-state", "done")
    expect(card.locator(".tool-preview")).to_have_text("Asia/Tokyo")
    card.locator("summary").click()
    expect(card).to_contain_text("Asia/Tokyo")
    expect(card.locator(".tool-title").last).to_be_visible()
    expect(answer(chat)).to_contain_text("It is late.")


def test_a_tool_that_fails_says_so(chat: Page, provider: ProviderProcess) -> None:
    provider.script([[SUM], [{"text": "That has no value."}]])

    ask(chat, "What is 1 / 0?")

    expect(answer(chat).locator(".tool")).to_have_attribute("data-state", "error")
    expect(answer(chat)).to_contain_text("That has no value.")


def test_reasoning_is_folded_and_apart_from_the_answer(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"reasoning": "Hm, let me see."}, {"text": "Yes."}])

    ask(chat, "Is it?")

    expect_idle(chat)
    expect(answer(chat).get_by_text("Hm, let me see.")).to_be_hidden()
    answer(chat).locator(".reasoning summary").click()
    expect(answer(chat).get_by_text("Hm, let me see.")).to_be_visible()
    expect(answer(chat).locator(".hop > .markdown")).to_have_text("Yes.")


def test_a_failed_answer_says_why_and_is_tried_again(chat: Page, provider: ProviderProcess) -> None:
    provider.script(queue=[[{"text": "The first"}, {"close": True}], [{"text": "All of it."}]])
    ask(chat, "Tell me")
    failure = answer(chat).locator(".failure")
    expect(failure).to_contain_text("The answer could not be finished")
    expect(answer(chat)).to_contain_text("The first")

    failure.get_by_role("button", name="Try again").click()

    expect(answer(chat)).to_contain_text("All of it.")
    expect(chat.locator(".turn")).to_have_count(1)
    expect(chat.locator(".stepper-count")).to_have_text("2 / 2")


def test_an_answer_is_given_again_and_both_can_be_read(chat: Page, provider: ProviderProcess) -> None:
    provider.script(queue=[[{"text": "Version one."}], [{"text": "Version two."}]])
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("Version one.")

    answer(chat).get_by_role("button", name="Answer again").click()
    expect(answer(chat)).to_contain_text("Version two.")
    chat.get_by_role("button", name="Earlier version").click()

    expect(answer(chat)).to_contain_text("Version one.")
    expect(chat.locator("#branch-note")).to_be_visible()
    chat.get_by_role("button", name="Show the latest").click()
    expect(answer(chat)).to_contain_text("Version two.")


def test_an_edited_message_begins_a_branch_of_its_own(chat: Page, provider: ProviderProcess) -> None:
    provider.script(queue=[[{"text": "One."}], [{"text": "Two."}], [{"text": "Other."}]])
    ask(chat, "First")
    expect(answer(chat)).to_contain_text("One.")
    expect_idle(chat)
    ask(chat, "Second")
    expect(answer(chat)).to_contain_text("Two.")
    expect_idle(chat)

    chat.locator(".turn").first.hover()
    chat.get_by_role("button", name="Edit your message").first.click()
    chat.get_by_role("textbox", name="Edit your message").fill("Changed")
    chat.keyboard.press("Enter")

    expect(answer(chat)).to_contain_text("Other.")
    expect(chat.locator(".bubble")).to_have_text(["Changed"])
    chat.get_by_role("button", name="Earlier version").click()
    expect(chat.locator(".bubble")).to_have_text(["First", "Second"])


def test_enter_sends_but_not_with_shift_nor_while_a_word_is_composed(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "Fine."}])
    box = chat.get_by_label("Message", exact=True)
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")

    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True})
    expect(box).to_have_value("one\ntwo")
    box.press("Enter")

    expect(chat.locator(".bubble")).to_have_text("one\ntwo")
    expect(box).to_have_value("")


def test_what_is_written_but_not_sent_survives_a_reload(chat: Page) -> None:
    chat.get_by_label("Message", exact=True).fill("half a thou")

    chat.reload()

    expect(chat.get_by_label("Message", exact=True)).to_have_value("half a thou")


def test_a_conversation_is_renamed_in_place(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "Fine."}])
    ask(chat, "Old name")
    expect_idle(chat)

    chat.get_by_role("button", name="Rename").click()
    chat.get_by_label("Title").fill("New name")
    chat.keyboard.press("Enter")

    expect(chat.locator("#conversation-title")).to_have_text("New name")
    chat.reload()
    expect(chat.locator(".item-title")).to_have_text("New name")


def test_a_conversation_is_deleted_only_after_a_yes(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "Fine."}])
    ask(chat, "To be deleted")
    expect_idle(chat)

    chat.get_by_role("button", name="Delete “To be deleted”").click()
    chat.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(chat.locator(".item")).to_have_count(1)
    chat.get_by_role("button", name="Delete “To be deleted”").click()
    chat.get_by_role("dialog").get_by_role("button", name="Delete").click()

    expect(chat.locator(".item")).to_have_count(0)
    expect(chat.locator("#welcome")).to_be_visible()
    assert "/c/" not in chat.url


def test_a_reader_who_scrolled_up_is_left_alone(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "line\n\n" * 80}, {"gate": "rest"}, {"text": "line\n\n" * 80}])
    ask(chat, "A lot")
    expect(answer(chat).locator("p")).to_have_count(80)
    jump = chat.get_by_role("button", name="Jump to latest")
    expect(jump).to_be_hidden()

    chat.locator("#scroller").hover()
    chat.mouse.wheel(0, -600)
    expect(jump).to_be_visible()
    before = chat.evaluate("document.getElementById('scroller').scrollTop")
    provider.open_gate("rest")
    expect_idle(chat)

    assert chat.evaluate("document.getElementById('scroller').scrollTop") == before
    jump.click()
    expect(jump).to_be_hidden()


def test_the_code_in_an_answer_is_copied_without_its_frame(chat: Page, provider: ProviderProcess) -> None:
    provider.script([{"text": "```python\nprint(1)\n```\n"}])
    ask(chat, "Code")
    expect_idle(chat)

    chat.get_by_role("button", name="Copy", exact=True).click()

    expect(chat.locator(".code-copy.copied")).to_be_visible()
    assert chat.evaluate("navigator.clipboard.readText()") == "print(1)"


def test_the_choice_of_dark_is_kept(chat: Page) -> None:
    chat.emulate_media(color_scheme="light")

    chat.get_by_role("button", name="Switch between light and dark").click()
    chat.reload()

    assert chat.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_on_a_narrow_screen_the_list_is_a_drawer(chat: Page) -> None:
    chat.set_viewport_size({"width": 390, "height": 800})
    sidebar = chat.get_by_role("complementary", name="Conversations")
    expect(sidebar).to_be_hidden()

    chat.get_by_role("button", name="Open the list of conversations").click()
    expect(sidebar).to_be_visible()
    chat.keyboard.press("Escape")

    expect(sidebar).to_be_hidden()


def test_a_page_that_was_offline_catches_up(chat: Page, visitor: BrowserContext, provider: ProviderProcess) -> None:
    provider.script(half_then(" and the second."))
    ask(chat, "Tell me")
    expect(answer(chat)).to_contain_text("The first half")

    visitor.set_offline(True)
    expect(chat.locator("#connection")).to_contain_text("You are offline.")
    provider.open_gate("rest")
    visitor.set_offline(False)

    expect(answer(chat)).to_contain_text("The first half and the second.")
    expect(chat.locator("#connection")).to_be_hidden()


@pytest.mark.parametrize("part", range(3))
def test_no_attack_of_a_model_succeeds_on_the_page_itself(chat: Page, provider: ProviderProcess, part: int) -> None:
    attacks = [attack.replace("\x00", "") for attack in ATTACKS[part::3]]
    provider.script(
        [step for attack in attacks for step in ({"text": attack[:9]}, {"text": attack[9:] + "\n\n"}) if step["text"]]
    )

    ask(chat, "Attack me")

    expect_idle(chat)
    assert chat.evaluate("window.hacked") is None
    assert chat.locator(".answer :is(script, img, iframe, form, input, object, style, link, video, audio)").count() == 0
