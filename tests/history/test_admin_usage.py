"""The usage page of the admin: who sees it, what it says, and that it reads no turn."""

from __future__ import annotations

import html
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_init
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from history.admin_usage_figures import COLUMNS, dollars, duration
from history.models import Status, Turn
from tests.history.stage import new_conversation
from tests.history.test_admin import EVIL, staff
from tests.history.test_usage import ask, name

pytestmark = pytest.mark.django_db

PAGE = "/admin/verbatim_history/turn/usage/"


def shown(client: Client, query: str = "") -> Any:
    """The page."""
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == 200
    return response


def lines(response: Any, table: str) -> dict[str, dict[str, str]]:
    """Rows of a table by their names, each with its numbers by column."""
    return {
        line.label: {
            column: f"{cell.text} {cell.note}".strip() for column, cell in zip(COLUMNS, line.cells, strict=True)
        }
        for line in response.context[table]
    }


def test_it_is_for_staff_who_may_see_turns(client: Client, user: User) -> None:
    allowed = staff(client, "view_turn").get(PAGE).status_code
    written = client.post(PAGE).status_code
    User.objects.get(username="staff").user_permissions.clear()

    assert (allowed, written, client.get(PAGE).status_code) == (200, 405, 403)


def test_the_list_of_turns_and_the_index_lead_to_it(client: Client, user: User) -> None:
    looking = staff(client, "view_turn", "view_conversation")
    pages = [reverse("admin:verbatim_history_turn_changelist"), reverse("admin:app_list", args=["verbatim_history"])]
    with_it = [f'href="{PAGE}"' in looking.get(page).content.decode() for page in pages]

    assert with_it == [True, True]


def test_it_tells_what_models_have_used(admin_client: Client, user: User, other_user: User) -> None:
    ask(user)
    ask(other_user, cost=None)
    ask(other_user, status="failed", model="large", cost=Decimal("2.5"))
    ask(other_user, model="mine", cost=None)
    name(user)

    response = shown(admin_client)

    groups, totals = lines(response, "groups"), lines(response, "totals")
    costs = {"small": "$0.012 + 1 unknown", "large": "$2.50", "mine": "unknown"}
    assert {model: line["Cost"] for model, line in groups.items()} == costs
    total = totals["Total"]
    assert [total[column] for column in COLUMNS[:3]] == ["4", "0", "1 25.0%"]
    assert [total[column] for column in COLUMNS[3:5]] == ["4,000 1,200 cached", "800 200 reasoning"]
    assert totals["Outside turns (1 call)"]["Prompt"] == "1,000 300 cached"
    assert lines(response, "days")[timezone.now().date().isoformat()] == total
    page = response.content.decode()
    assert all(f">{text}<" in page for text in ("4,800", "3 completed, 0 cancelled, 1 failed, 0 in progress"))


def test_a_group_can_be_picked_and_let_go_again(admin_client: Client, user: User, other_user: User) -> None:
    ask(user)
    ask(other_user, model="other & more")

    [link] = [line.address for line in shown(admin_client).context["groups"] if line.label == "other & more"]
    picked = shown(admin_client, link.removeprefix("?"))
    by_user = shown(admin_client, f"{link.removeprefix('?')}&by=user")

    assert lines(picked, "groups").keys() == {"other & more"}
    assert lines(by_user, "groups").keys() == {"bob"}
    [chip] = picked.context["picked"]
    assert (chip.label, chip.address) == ("model: other & more", "?days=30&by=model")


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("days=31", ["days"]),
        ("days=x&by=colour", ["days", "by"]),
        ("days=7&by=user&user=nobody", []),
        ("user=%00", ["user"]),
        (f"model={'x' * 201}", ["model"]),
        ("profile=&days=&by=", []),
        ("whatever=1", []),
    ],
)
def test_what_is_not_understood_is_told_and_left_out(admin_client: Client, query: str, wrong: list[str]) -> None:
    response = shown(admin_client, query)

    assert response.context["wrong"] == wrong
    assert ("left out: " in response.content.decode()) == bool(wrong)


def test_without_turns_there_is_a_sentence_and_no_chart(admin_client: Client, user: User) -> None:
    ask(user)

    empty = shown(admin_client, "model=none").content.decode()

    assert "No turns in these 30 days of what is picked." in empty
    assert "verbatim-charts-data" not in empty
    assert 'id="verbatim-charts-data" type="application/json"' in shown(admin_client).content.decode()


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14"])
def test_days_are_those_of_the_site(admin_client: Client, user: User, zone: str) -> None:
    """In one of the two it is another day than in UTC, whenever this runs."""
    with override_settings(TIME_ZONE=zone):
        ask(user)
        response = shown(admin_client, "days=7")
        here = timezone.localdate()

    assert [label for label, line in lines(response, "days").items() if line["Turns"] == "1"] == [here.isoformat()]
    assert [line.label for line in response.context["days"]] == [str(here - timedelta(days=ago)) for ago in range(7)]
    assert f"Days are those of {zone}." in html.unescape(response.content.decode())


def test_no_name_is_markup(admin_client: Client, user: User) -> None:
    ask(user, model=EVIL, profile=EVIL)

    for query in ("", "by=profile", f"profile={EVIL}"):
        assert "<script>alert" not in shown(admin_client, query).content.decode()


def test_it_reads_no_turn_and_as_many_rows_however_many_there_are(admin_client: Client, user: User) -> None:
    end_turns(user, 210)
    few = read(admin_client)
    end_turns(user, 420)
    many = read(admin_client)

    assert many == few
    assert few["turns"] == 0
    assert few["rows"] <= 14 * 7 + 3 * 7 + 10


def end_turns(user: User, count: int) -> None:
    """So many in fourteen days, of three models, ended in three ways within one of five times."""
    conversation, now = new_conversation(user), timezone.now()
    Turn.objects.bulk_create(
        Turn(
            conversation=conversation,
            owner=user,
            model=f"model-{number % 3}",
            status=(Status.COMPLETED, Status.FAILED, Status.CANCELLED)[number % 7 % 3],
            created_at=now - timedelta(days=number % 14),
            ended_at=now - timedelta(days=number % 14) + timedelta(seconds=3 ** (number % 5)),
        )
        for number in range(count)
    )


def read(client: Client) -> dict[str, int]:
    """The statements, rows and turns that the page takes."""
    instances: list[Any] = []
    post_init.connect(seen := lambda instance, **_: instances.append(instance), sender=Turn, weak=False)
    with CaptureQueriesContext(connection) as captured:
        shown(client)
    post_init.disconnect(seen, sender=Turn)
    statements = [query["sql"] for query in captured if "verbatim_history" in query["sql"]]
    with connection.cursor() as cursor:
        rows = 0
        for statement in statements:
            cursor.execute(statement)
            rows += len(cursor.fetchall())
    return {"statements": len(statements), "rows": rows, "turns": len(instances)}


@pytest.mark.parametrize(
    ("cost", "text"),
    [("0", "$0.00"), ("0.00001234", "$0.000012"), ("0.0123", "$0.012"), ("0.5", "$0.50"), ("1234.567", "$1,234.57")],
)
def test_costs_are_written_with_the_digits_that_say_something(cost: str, text: str) -> None:
    assert dollars(Decimal(cost)) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, "-"), (12.3, "12 ms"), (4_250, "4.2 s"), (75_000, "1.2 min"), (6e6, "100.0 min")]
)
def test_times_are_written_in_the_unit_that_suits_them(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text
