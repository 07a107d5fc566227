"""The choice of the model on the page: what this person may use, as it is now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.provider import ProviderProcess
from tests.server import ServerProcess, Site

SET_UP = """
from django.contrib.auth.models import User
from access.keys import create_key
from access.models import Profile
from access.principals import Scope
Profile.objects.create(name="fast", label="Fast one", model="quick", base_url={provider!r}, system_prompt="Be brief.")
Profile.objects.create(name="inner", label="For staff", audience="staff")
print(create_key(User.objects.create_superuser("root"), scopes=list(Scope)).text)
"""


@pytest.fixture(scope="module")
def site(provider_process: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One with two profiles in its table."""
    folder = tmp_path_factory.mktemp("picker")
    return Site(folder, provider_url=provider_process.base_url, env={"DEBUG": "1"})


@pytest.fixture(scope="module")
def key(site: Site, provider_process: ProviderProcess) -> str:
    """The key of who looks after the profiles."""
    return site.manage("shell", "-v", "0", "-c", SET_UP.format(provider=provider_process.base_url)).strip()


@pytest.fixture(scope="module")
def server(site: Site, key: str) -> Iterator[ServerProcess]:
    with site.start("daphne", chat={"PRIVATE_PROVIDERS": True}) as process:
        yield process


def ask(page: Page, text: str) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")


def test_a_model_of_the_table_is_chosen_and_asked_until_it_is_gone(
    chat: Page, server: ServerProcess, provider: ProviderProcess, key: str
) -> None:
    provider.script([{"text": "Quickly."}])
    picker = chat.get_by_label("Model")
    expect(picker.locator("option")).to_have_text(["scripted", "Demo (no key needed)", "Fast one"])

    picker.select_option("fast")
    ask(chat, "Hello")
    expect(chat.locator(".answer")).to_contain_text("Quickly.")
    chat.reload()
    expect(picker).to_have_value("fast")

    answer = chat.request.delete(f"{server.url}/api/v1/profiles/fast", headers={"X-API-Key": key})
    assert answer.status == 204
    ask(chat, "And now?")
    expect(chat.locator("#notice")).to_contain_text("There is no such model.")
    expect(picker.locator("option")).to_have_text(["scripted", "Demo (no key needed)"])
    expect(picker).to_have_value("openai")
    expect(chat.get_by_label("Message", exact=True)).to_have_value("And now?")
    (call,) = provider.log()
    assert call["body"]["model"] == "quick"
    assert call["body"]["messages"][0] == {"role": "system", "content": "Be brief."}
