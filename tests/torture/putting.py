"""Putting something wrong into the product, where there is something right."""

from __future__ import annotations

from inspect import isfunction, signature
from typing import Any


def put(owner: Any, name: str, value: Any) -> None:
    """Put it in the place of something. Raises `AttributeError` if there is nothing of that name any more, and
    `TypeError` if it cannot be called as that is."""
    there = getattr(owner, name)
    if isfunction(there):
        given = signature(there).parameters.values()
        named = {each.name: None for each in given if each.kind is each.KEYWORD_ONLY}
        signature(value).bind(*(None for each in given if each.kind is each.POSITIONAL_OR_KEYWORD), **named)
    setattr(owner, name, value)
