"""What the environment makes of the settings: each case is a fresh interpreter with its own variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from config import settings
print(json.dumps({name: getattr(settings, name, None) for name in sys.argv[1:]}, default=str))
"""


def settings(*names: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_out_of_the_box_it_is_closed() -> None:
    read = settings("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "CHAT")

    assert read["DEBUG"] is False
    assert read["SECRET_KEY"] == ""
    assert read["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert read["SESSION_COOKIE_SECURE"] is read["CSRF_COOKIE_SECURE"] is True
    assert read["CHAT"]["GUESTS"] is False


def test_a_site_without_a_secret_key_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import config.asgi"],
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "DATABASE_URL": "sqlite://:memory:"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "The SECRET_KEY setting must not be empty" in done.stderr


def test_development_has_a_secret_key_of_its_own_that_stays() -> None:
    keys = [settings("SECRET_KEY", DEBUG="1")["SECRET_KEY"] for _ in range(2)]

    assert keys[0] == keys[1]
    assert len(keys[0]) >= 50
    assert (ROOT / "var" / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("On", True), ("0", False), ("no", False)])
def test_switches_are_read_by_meaning(value: str, *, on: bool) -> None:
    assert settings("DEBUG", DEBUG=value, SECRET_KEY="x")["DEBUG"] is on


def test_sqlite_waits_for_its_lock_in_wal_mode() -> None:
    default = settings("DATABASES", DATABASE_URL="sqlite:////tmp/verbatim.sqlite3")["DATABASES"]["default"]

    assert default["NAME"] == "/tmp/verbatim.sqlite3"
    assert default["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert default["OPTIONS"]["timeout"] == 20
    assert "journal_mode=WAL" in default["OPTIONS"]["init_command"]
    assert "ATOMIC_REQUESTS" not in default or not default["ATOMIC_REQUESTS"]


def test_postgresql_is_pooled_without_persistent_connections() -> None:
    url = "postgresql://ada:pw@db.internal:5433/chat"

    default = settings("DATABASES", DATABASE_URL=url, DATABASE_POOL_MAX="7")["DATABASES"]["default"]

    assert (default["HOST"], default["PORT"], default["NAME"], default["USER"]) == ("db.internal", 5433, "chat", "ada")
    assert default["CONN_MAX_AGE"] == 0
    pool = default["OPTIONS"]["pool"]
    assert (pool["min_size"], pool["max_size"]) == (2, 5), "two are outside of it"
    assert pool["timeout"] == pool["reconnect_timeout"] == 10.0
    assert default["DISABLE_SERVER_SIDE_CURSORS"] is True


def test_a_database_whose_host_is_gone_is_given_up_in_seconds_unless_the_url_says_otherwise() -> None:
    url = "postgresql://ada:pw@db.internal/chat?connect_timeout=3"

    options = settings("DATABASES", DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]

    assert int(options["connect_timeout"]) == 3
    assert options["tcp_user_timeout"] == 10_000
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] < 15


def test_redis_carries_the_channel_layer_when_there_is_one() -> None:
    urls = "redis://127.0.0.1:6379/3, redis://127.0.0.1:6380/3"
    with_redis = settings("CHANNEL_LAYERS", REDIS_URL=urls)["CHANNEL_LAYERS"]["default"]
    without = settings("CHANNEL_LAYERS")["CHANNEL_LAYERS"]["default"]

    assert with_redis["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert ", ".join(host["address"] for host in with_redis["CONFIG"]["hosts"]) == urls
    assert without == {"BACKEND": "channels.layers.InMemoryChannelLayer"}


def test_origins_hold_for_forms_and_sockets_alike() -> None:
    read = settings("CSRF_TRUSTED_ORIGINS", "CHAT", ALLOWED_ORIGINS=" https://a.example , https://b.example,")

    assert read["CSRF_TRUSTED_ORIGINS"] == ["https://a.example", "https://b.example"]
    assert read["CHAT"]["ALLOWED_ORIGINS"] == ["https://a.example", "https://b.example"]


def test_only_listed_variables_reach_the_models() -> None:
    given = {"OPENAI_API_KEY": "a", "MISTRAL_KEY": "b", "OTHER_KEY": "c", "PROVIDER_VARIABLES": "MISTRAL_KEY, NOT_SET"}

    chat = settings("CHAT", CHAT_MODEL="fast", **given)["CHAT"]

    assert chat["PROVIDER_KEYS"] == {"OPENAI_API_KEY": "a", "MISTRAL_KEY": "b"}
    assert chat["DEFAULT_PROFILE"] == "fast"


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("CHAT_MODEL=from-file\nLOG_LEVEL=debug\n")

    read = settings("CHAT", "LOGGING", ENV_FILE=str(file), CHAT_MODEL="from-environment")

    assert read["CHAT"]["DEFAULT_PROFILE"] == "from-environment"
    assert read["LOGGING"]["root"]["level"] == "DEBUG"


def test_the_example_names_every_variable_and_no_other() -> None:
    source = (ROOT / "config" / "settings.py").read_text()
    example = (ROOT / ".env.example").read_text()

    named = {
        line.lstrip("#").partition("=")[0] for line in example.splitlines() if line.startswith("#") and "=" in line
    }
    named = {name for name in named if name.isupper()}
    missing = {name for name in named if f'"{name}"' not in source}
    assert missing == set()
    for name in ("DEBUG", "SECRET_KEY", "DATABASE_URL", "REDIS_URL", "CHAT_MODEL", "OPENAI_API_KEY", "LOG_LEVEL"):
        assert name in named
