"""How violations are planted: by edits of a sound history, or by plots in which the product does something wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from tests.torture.checker import Predicate
from tests.torture.history import History
from tests.torture.made_up.audience import Told, history
from tests.torture.made_up.plots import (
    Plot,
    plain,
)
from tests.torture.records import (
    AnyRecord,
    Received,
    Record,
)

R = TypeVar("R", bound=Record)


class Plant(NamedTuple):
    """What goes wrong, in turns of these plots; which predicate has to find it; which promises it breaks beside."""

    name: str
    predicate: Predicate
    turns: tuple[Told, ...]
    edit: Callable[[Page], None]
    beside: frozenset[str]

    def page(self) -> Page:
        """The history with the violation, to be edited further."""
        page = Page(history(self.turns))
        self.edit(page)
        return page


class Page:
    """A history that can be edited."""

    def __init__(self, sound: History) -> None:
        self.records: list[AnyRecord] = list(sound.records)
        self.ended = sound.ended

    def history(self) -> History:
        """As it is now."""
        return History(self.records)

    def all(self, kind: type[R], /, **fields: Any) -> list[R]:
        """The records of this type with these fields, in order."""
        return [record for record in self.records if isinstance(record, kind) and _matches(record, fields)]

    def frames(self, viewer: str, **fields: Any) -> list[Received]:
        """What a viewer received, of frames with these fields."""
        return [r for r in self.all(Received, viewer=viewer) if fields.items() <= r.frame.items()]

    def change(self, record: AnyRecord, **fields: Any) -> None:
        """Write it otherwise."""
        self.records[self.records.index(record)] = replace(record, **fields)

    def reframe(self, received: Received, **fields: Any) -> None:
        """Write its frame otherwise."""
        self.change(received, frame={**received.frame, **fields})

    def drop(self, record: AnyRecord) -> None:
        """It was never written."""
        self.records.remove(record)

    def add(self, record: AnyRecord, *, before: AnyRecord | None = None) -> None:
        """One more, at the end or before another one."""
        self.records.insert(len(self.records) if before is None else self.records.index(before), record)

    def swap(self, one: AnyRecord, other: AnyRecord) -> None:
        """Each in the place of the other."""
        here, there = self.records.index(one), self.records.index(other)
        self.records[here], self.records[there] = other, one


def _matches(record: Record, fields: dict[str, Any]) -> bool:
    return all(getattr(record, name) == value for name, value in fields.items())


def edit(
    predicate: Predicate, *plots: Plot, beside: str = "", idempotent: bool = True
) -> Callable[[Callable[[Page], None]], Plant]:
    """A sound history of turns of these plots, then edited."""
    turns = tuple(Told(plot, idempotent) for plot in plots)
    return lambda edited: Plant(edited.__name__, predicate, turns, edited, frozenset(beside.split()))


def plot(predicate: Predicate, *, beside: str = "", idempotent: bool = True) -> Callable[[Plot], Plant]:
    """A turn in which the product does something wrong, after one in which it does not."""
    return lambda told: Plant(
        told.__name__, predicate, (Told(plain), Told(told, idempotent)), lambda page: None, frozenset(beside.split())
    )


def planted(*modules: ModuleType) -> list[Plant]:
    """All plants of these modules."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Plant)]
