"""`compose.yaml`, `Dockerfile`, `deploy/` and `docs/deployment.md` fit the site and each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.urls import Resolver404, resolve

from bench.servers import COMMANDS
from history.conf import ChatSettings
from tests.nginx import CONFIGURATION
from tests.provider import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "verbatim"}
WEB = {name: service for name, service in OURS.items() if "command" not in service}
PAGE = (ROOT / "docs/deployment.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXIT = 10
"""Seconds that a process may take after its drain to store, say goodbye and end."""


def variables() -> set[str]:
    """The variables that the settings read: what is given to their readers, and the list of the providers' own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / "config/settings.py").read_text())):
        match node:
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if ast.unparse(function) in {
                "flag",
                "words",
                "os.environ.get",
            }:
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="PROVIDER_VARIABLES")], value=ast.List(elts=elements)):
                found |= {str(item.value) for item in elements if isinstance(item, ast.Constant)}
    return found


def words_of_log() -> str:
    """Everything that our code may write into the log, as it stands there."""
    calls = (
        ast.unparse(node.args[0])
        for package in ("config", "chat", "streaming", "access", "history", "tools", "llm")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger.")
    )
    return "\n".join(calls)


def urls(service: dict[str, Any]) -> list[str]:
    """The paths on a port of its own that a service's health check asks."""
    return re.findall(r"http://127\.0\.0\.1:\d+(/[\w/]*)", " ".join(service["healthcheck"].get("test", [])))


def seconds(service: dict[str, Any]) -> int:
    """How long a service has from SIGTERM to SIGKILL; compose gives 10 s unless it is told."""
    return int(str(service.get("stop_grace_period", "10s")).removesuffix("s"))


def section(title: str) -> str:
    """What the page says under a heading."""
    return re.split(r"^## ", PAGE.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables in it, without heads."""
    for head_and_rows in re.findall(r"^\|.*\n\| ---.*\n((?:\|.*\n)+)", text, flags=re.MULTILINE):
        for line in head_and_rows.splitlines():
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_has_every_variable_that_the_settings_read_and_no_other() -> None:
    told = [row[0].strip("`| ") for row in rows(section("The environment"))]

    assert len(variables()) > 15
    assert sorted(told) == sorted(variables())


def test_the_services_get_variables_that_the_settings_read() -> None:
    assert {*WEB, "migrate", "housekeeping"} == set(OURS)
    for service in OURS.values():
        assert set(service["environment"]) <= variables()
        assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS"} <= set(service["environment"])


def test_the_image_is_built_by_one_service_and_pulled_by_none() -> None:
    """Compose builds side by side, and what is there already fails who comes second; and elsewhere somebody may have
    given an image this name."""
    assert [name for name, service in OURS.items() if "build" in service] == ["migrate"]
    assert {service.get("pull_policy") for name, service in OURS.items() if name != "migrate"} == {"never"}


def test_what_a_person_must_choose_has_no_default_and_every_choice_is_told() -> None:
    chosen = dict(re.findall(r"\$\{(\w+)(:\?|:-)", (ROOT / "compose.yaml").read_text()))

    assert {name for name, kind in chosen.items() if kind == ":?"} == {"SECRET_KEY", "POSTGRES_PASSWORD"}
    assert [name for name in chosen if f"`{name}`" not in PAGE] == []


def test_every_service_is_looked_after_and_waits_for_services_that_exist() -> None:
    assert set(SERVICES) == {*WEB, "migrate", "housekeeping", "nginx", "postgres", "redis"}
    assert len(WEB) == 2
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert name == "migrate" or service["restart"] == "unless-stopped"
        assert name == "migrate" or "healthcheck" in service
    for service in WEB.values():
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_health_checks_ask_what_the_site_answers() -> None:
    asked = {name: urls(service) for name, service in SERVICES.items() if "healthcheck" in service}

    assert {name: paths for name, paths in asked.items() if paths} == {
        **{name: ["/ready/"] for name in WEB},
        "nginx": ["/live/"],
    }
    for path in {path for paths in asked.values() for path in paths}:
        assert resolve(path).url_name == path.strip("/")
    for path in re.findall(r"`(/(?:live|ready)\w*/)`", PAGE):
        assert resolve(path)
    with pytest.raises(Resolver404):
        resolve("/healthy/")


def test_the_database_is_there_when_it_answers_over_the_network() -> None:
    """The server that the image starts to make it does not listen there, and may take a while."""
    check = SERVICES["postgres"]["healthcheck"]

    assert "pg_isready --host 127.0.0.1" in " ".join(check["test"])
    assert check["start_period"] == "60s"


def test_a_process_has_time_to_end() -> None:
    for name in (*WEB, "housekeeping"):
        assert seconds(SERVICES[name]) >= ChatSettings().drain + EXIT


def test_every_command_exists() -> None:
    text = "\n".join([DOCKERFILE, PAGE, *(" ".join(service.get("command", [])) for service in SERVICES.values())])
    commands = set(re.findall(r"manage\.py (\w+)", text))

    assert {"migrate", "housekeeping"} <= commands
    assert commands <= set(get_commands())


def test_nginx_knows_the_web_processes_and_is_where_compose_looks_for_it() -> None:
    [port] = {*re.findall(r"EXPOSE (\d+)", DOCKERFILE), *re.findall(r'"--port", "(\d+)"', DOCKERFILE)}
    upstreams = re.findall(r"^ +server ([\w.:-]+);", CONFIGURATION, flags=re.MULTILINE)
    nginx = SERVICES["nginx"]
    [listens] = re.findall(r"^ +listen (\d+);", CONFIGURATION, flags=re.MULTILINE)

    assert upstreams == [f"{name}:{port}" for name in WEB]
    assert nginx["ports"] == [f"${{PORT:-8080}}:{listens}"]
    assert nginx["volumes"] == ["./deploy/nginx.conf:/etc/nginx/nginx.conf:ro"]
    assert set(nginx["depends_on"]) == set(WEB)


def test_nginx_gives_up_idle_connections_before_the_server_does() -> None:
    """Or a POST is sent on a connection that the server is just closing, and is lost."""
    upstream = CONFIGURATION.partition("upstream verbatim {")[2].partition("}")[0]
    [of_nginx] = re.findall(r"keepalive_timeout (\d+)s", upstream)
    [of_server] = re.findall(r'"--timeout-keep-alive", "(\d+)"', DOCKERFILE)

    assert int(of_nginx) < int(of_server)


def test_nginx_lets_through_what_the_application_takes() -> None:
    [limit] = re.findall(r"client_max_body_size (\d+)k;", CONFIGURATION)

    assert int(limit) * 1024 > ChatSettings().max_message_bytes
    assert f"client_body_buffer_size {limit}k;" in CONFIGURATION, "else large messages would go through a file"
    [gateways] = re.findall(r"client_max_body_size (\d+)m;", CONFIGURATION)
    assert int(gateways) * 1024 * 1024 > ChatSettings().gateway_message_bytes


def test_the_image_has_all_of_the_site_and_nothing_else() -> None:
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE))
    rooms = re.search(r"^layers = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)

    assert rooms is not None
    assert let_in == {*re.findall(r"\w+", rooms[1]), "templates", "manage.py", "requirements.txt"}
    assert [name for name in let_in if not (ROOT / name).exists()] == []
    assert not re.search("SECRET|PASSWORD|API_KEY", DOCKERFILE)
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD [")


def test_the_server_is_started_with_the_options_that_are_measured() -> None:
    measured = COMMANDS["uvicorn"].split("{port} ")[1].split(" {application}")[0]
    shipped = " ".join(ast.literal_eval("[" + DOCKERFILE.partition("\nCMD [")[2].replace("\\\n", "")))

    assert measured in shipped
    assert shipped in PAGE


def test_what_is_to_be_watched_for_is_what_the_log_says() -> None:
    quoted = re.findall(r'"([^"]+)"', section("What to watch"))
    log = words_of_log()

    assert len(quoted) > 10
    assert [line for line in quoted if line not in log] == []


def test_every_figure_names_a_measurement_that_there_is() -> None:
    printed = re.findall(r"`python -m bench (\w+)`", PAGE)
    tables = re.findall(r"<!-- bench (\w+) -->", (ROOT / "docs/performance.md").read_text())

    assert len(printed) > 4
    assert set(printed) <= set(tables)
