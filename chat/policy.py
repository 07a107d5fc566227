"""What a page may load, run and talk to: this site and nobody else, whatever a model makes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"
NOTHING, SELF = "'none'", "'self'"
DIRECTIVES = {
    "default-src": (NOTHING,),
    "script-src": (SELF,),
    "style-src": (SELF,),
    "img-src": (SELF,),
    "font-src": (SELF,),
    "connect-src": (SELF,),  # covers the site's own WebSocket too
    "form-action": (SELF,),
    "base-uri": (NOTHING,),
    "frame-ancestors": (NOTHING,),
}
STATIC = {"script-src", "style-src", "img-src", "font-src"}
"""What static files are for: a site may have them on another host."""

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


def strict(view: Callable[Concatenate[HttpRequest, P], R]) -> Callable[Concatenate[HttpRequest, P], R]:
    """The view, whose pages say themselves what they may do: not every site has a middleware for it."""
    return strict_but()(view)


def strict_but(
    **directives: tuple[str, ...],
) -> Callable[[Callable[Concatenate[HttpRequest, P], R]], Callable[Concatenate[HttpRequest, P], R]]:
    """The same, with some directives of its own (`img_src=...`)."""
    own = {**DIRECTIVES, **{name.replace("_", "-"): allowed for name, allowed in directives.items()}}

    def decorate(view: Callable[Concatenate[HttpRequest, P], R]) -> Callable[Concatenate[HttpRequest, P], R]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            response = view(request, *args, **kwargs)
            response.headers.setdefault(HEADER, _policy(own))
            return response

        return guarded

    return decorate


def _policy(directives: Mapping[str, tuple[str, ...]]) -> str:
    host = urlsplit(settings.STATIC_URL or "")
    static = (f"{host.scheme}://{host.netloc}",) if host.netloc else ()
    return "; ".join(
        " ".join((name, *allowed, *(static if name in STATIC else ()))) for name, allowed in directives.items()
    )
