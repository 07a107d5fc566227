"""The settings of this site, and the only reader of the environment; `.env.example` lists what it reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import dj_database_url
from dotenv import load_dotenv

from chat.policy import DIRECTIVES

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = BASE_DIR / "var"

load_dotenv(os.environ.get("ENV_FILE", BASE_DIR / ".env"))  # what is in the environment already, wins


def flag(name: str, *, default: bool) -> bool:
    """A switch: 1, true, yes or on; anything else is off."""
    return os.environ.get(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def words(name: str, *, default: str = "") -> list[str]:
    """A comma-separated list without empty items."""
    return [word for item in os.environ.get(name, default).split(",") if (word := item.strip())]


def development_key() -> str:
    """A secret key of this checkout's own, made once. The link makes it appear whole or not at all."""
    VAR.mkdir(exist_ok=True)
    path = VAR / "secret_key"
    if not path.exists():
        draft = VAR / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # another process was first: its key holds
        finally:
            draft.unlink()
    return path.read_text()


# --- The site -------------------------------------------------------------------------------------------------

DEBUG = flag("DEBUG", default=False)
# Empty is refused by Django on first use, and by config.asgi at start.
SECRET_KEY = os.environ.get("SECRET_KEY") or (development_key() if DEBUG else "")
ALLOWED_HOSTS = words("ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = words("ALLOWED_ORIGINS")  # beside the site's own; for forms, fetch and sockets alike

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular_sidecar",
    "csp",
    "history.apps.HistoryConfig",
    "access.apps.AccessConfig",
    "streaming.apps.StreamingConfig",
    "chat.apps.ChatConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.health.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
LOGIN_URL = "verbatim:login"
LOGIN_REDIRECT_URL = "verbatim:home"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Found in the apps at start, so that nothing has to be collected.
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_ALLOW_ALL_ORIGINS = False

# --- Data -----------------------------------------------------------------------------------------------------


OUTSIDE_THE_POOL = 2  # connections of an engine's own: its writer's and its keeper's
NO_DEAD_HOST = {  # a database whose host is gone without a word is given up in seconds, not in a quarter of an hour
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds; a system that has no such thing leaves it out
}


def database(url: str) -> dict[str, Any]:
    """Django's settings for a `sqlite:///` or `postgresql://` URL."""
    # Health checks: a pooled connection that did not survive a restart of the database is replaced, not handed out.
    settings: dict[str, Any] = {**dj_database_url.parse(url), "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}
    options = settings.setdefault("OPTIONS", {})
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        VAR.mkdir(exist_ok=True)
        options |= {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",  # a transaction that reads first and writes later cannot wait for the lock
            "timeout": 20,
        }
    else:
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True  # they outlive the transaction, to which pgbouncer may pool
        settings["OPTIONS"] = options = NO_DEAD_HOST | options
        shared = max(1, int(os.environ.get("DATABASE_POOL_MAX", "16")) - OUTSIDE_THE_POOL)
        options["pool"] = {
            "min_size": min(shared, int(os.environ.get("DATABASE_POOL_MIN", "2"))),
            "max_size": shared,
            "timeout": 10.0,  # seconds that a request waits for a connection
            "reconnect_timeout": 10.0,  # it waits twice as long after each try; past these, who comes has it begin anew
        }
    return settings


DATABASES = {"default": database(os.environ.get("DATABASE_URL") or f"sqlite:///{VAR / 'verbatim.sqlite3'}")}

REDIS_HOSTS = [{"address": url, "socket_connect_timeout": 2.0} for url in words("REDIS_URL")]
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": REDIS_HOSTS}}
    if REDIS_HOSTS
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# --- Security -------------------------------------------------------------------------------------------------

HTTPS = flag("HTTPS", default=not DEBUG)
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = int(os.environ.get("HSTS_SECONDS", "0"))
if flag("BEHIND_PROXY", default=False):  # which must set, not pass on, the header
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

CONTENT_SECURITY_POLICY = {"DIRECTIVES": DIRECTIVES}  # for the admin and whatever else is here

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "access.authentication.ApiKeyAuthentication",
        "access.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}

# --- Chat: what the environment says; everything else has its default in history.conf -----------------------------

PROVIDER_VARIABLES = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", *words("PROVIDER_VARIABLES")]

CHAT: dict[str, Any] = {
    "DEFAULT_PROFILE": os.environ.get("CHAT_MODEL", ""),
    "PROVIDER_KEYS": {name: os.environ[name] for name in PROVIDER_VARIABLES if os.environ.get(name)},
    "ALLOWED_ORIGINS": tuple(CSRF_TRUSTED_ORIGINS),
    "GUESTS": DEBUG,
    "TITLES": flag("TITLES", default=DEBUG),
    "METRICS_TOKEN": os.environ.get("METRICS_TOKEN", ""),
    "METRICS_FOLDER": os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""),
}

# --- Log: a line per record on stderr, without secrets ---------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "lines": {
            "()": "streaming.log_lines.formatter",
            "kind": os.environ.get("LOG_FORMAT", "plain"),
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},  # else it keeps its own
        "channels_redis": {"level": "CRITICAL"},  # a Redis that is away is told of once, by the doorbell
    },
}
