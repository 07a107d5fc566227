"""What a process that is gone had asked of a model, as far as its turn tells."""

from __future__ import annotations

from functools import partial

from access.errors import UnknownModel
from history.calls import Asked
from history.context import estimate_of
from history.models import Turn
from history.status import Abandoned
from llm.prices import cost
from llm.types import ToolSpec
from streaming.gathering import gather


def asked_in(turn: Abandoned, *, tools: tuple[ToolSpec, ...]) -> Asked | None:
    """What was being asked in that attempt of a turn; None for one that was released, whose process has told. Raises
    `NotFound` if the turn is gone."""
    if turn.engine is None:
        return None
    try:
        found = gather(turn.turn_id, attempt=turn.attempt, tools=tools, begun=None)
    except UnknownModel:  # its profile is gone, and with it what a token costs
        model = Turn.objects.values_list("model", flat=True).get(pk=turn.turn_id)
        return Asked(model=model, context_window=0, prompt=0, price=lambda _: None)
    profile = found.profile
    return Asked(
        model=profile.model,
        context_window=profile.context_window,
        prompt=estimate_of(found.request),
        price=partial(cost, prices=profile.prices),
    )
