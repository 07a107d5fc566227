"""Which pages may use a person's session on a socket: the site's own, and those the settings list, exactly."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from history.conf import chat_settings

LOCAL = [".localhost", "127.0.0.1", "[::1]"]
"""What Django allows in DEBUG when the settings name no host."""


def is_allowed(origin: str, *, headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a socket asked for with these headers (lower-case names) may be opened from a page of that origin."""
    return origin in chat_settings().allowed_origins or origin == _own_origin(headers, scheme=scheme)


def _own_origin(headers: Mapping[str, str], *, scheme: str) -> str | None:
    host = headers.get("host", "").lower()
    domain, _ = split_domain_port(host)
    hosts = settings.ALLOWED_HOSTS or (LOCAL if settings.DEBUG else [])
    if not validate_host(domain, hosts):
        return None
    return f"{'https' if _is_secure(headers, scheme=scheme) else 'http'}://{host}"


def _is_secure(headers: Mapping[str, str], *, scheme: str) -> bool:
    """As for requests: behind a proxy its header decides, if the settings trust it."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        given = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower())
        if given is not None:
            return given.split(",")[0].strip() == secure
    return scheme in {"wss", "https"}
