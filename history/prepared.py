"""Statements that Django puts together once, for what every turn asks: after the first time they cost what the database
takes for them, not what it takes to write them.

They say what they do in Django's own words; where a value comes with each call, a `Given` stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import AutoField, Expression, Field, Model, QuerySet
from django.db.models.sql import InsertQuery, Query, UpdateQuery

Row: TypeAlias = tuple[Any, ...]


class Given(Expression):
    """The value that a call gives under this name, written as `field` writes it."""

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]  # it holds the value's place among the parameters

    def written(self, value: object, database: Any) -> Any:
        """The value as the database's driver takes it."""
        return self.output_field.get_db_prep_save(value, database)


def given(model: type[Model], field: str, *, name: str = "") -> Given:
    """A value for that field of a model, or for its `pk`; under the field's name unless it gets another one."""
    found: Any = model._meta.pk if field == "pk" else model._meta.get_field(field)
    return Given(name or field, found)


class Made(NamedTuple):
    """A statement for one kind of database, and how to read the columns that it returns."""

    sql: str
    params: Sequence[Any]
    readers: Sequence[tuple[int, Sequence[Callable[..., Any]], Any]] = ()


class Statement:
    """What the three kinds have in common. It is put together at its first use, which for one that locks must be in a
    transaction."""

    def __init__(self) -> None:
        self._made: dict[str, Made] = {}

    def _make(self) -> Made:
        raise NotImplementedError

    @contextmanager
    def _executed(self, values: Mapping[str, object]) -> Iterator[tuple[Made, Any]]:
        database = connections[DEFAULT_DB_ALIAS]  # this thread's own; to ask the proxy again and again would cost more
        made = self._made.get(database.vendor)
        if made is None:
            made = self._made[database.vendor] = self._make()
        params = [
            param.written(values[param.name], database) if isinstance(param, Given) else param for param in made.params
        ]
        with database.cursor() as cursor:
            cursor.execute(made.sql, params)
            yield made, cursor


class Select(Statement):
    """The rows of a query, as tuples: of what `values_list` names, or of all columns and then the annotations."""

    def __init__(self, query: Callable[[], QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._query = query

    def rows(self, **values: object) -> list[Row]:
        """All rows."""
        with self._executed(values) as (made, cursor):
            found: list[Row] = cursor.fetchall()
        return _read(found, made)

    def first(self, **values: object) -> Row | None:
        """The first row, in the order that the query asks for."""
        with self._executed(values) as (made, cursor):
            row: Row | None = cursor.fetchone()
        return None if row is None else _read([row], made)[0]

    def _make(self) -> Made:
        compiler = _compiler(self._query().query)
        sql, params = compiler.as_sql()
        readers = compiler.get_converters([column for column, *_ in compiler.select])
        return Made(sql, params, [(at, functions, column) for at, (functions, column) in readers.items()])


class Update(Statement):
    """New values for the rows of a query."""

    def __init__(self, query: Callable[[], QuerySet[Any, Any]], **fresh: object) -> None:
        super().__init__()
        self._query = query
        self._fresh = fresh

    def run(self, **values: object) -> int:
        """How many rows it has changed."""
        with self._executed(values) as (_, cursor):
            return int(cursor.rowcount)

    def _make(self) -> Made:
        query: Any = self._query().query.chain(UpdateQuery)
        query.add_update_values(self._fresh)
        return Made(*_compiler(query).as_sql())


class Insert(Statement):
    """One row of a table. The database fills in what it has a default for, but for the fields that are `told`; `fresh`
    are fields that are not as the row says, but the same each time."""

    def __init__(self, model: type[Model], *, told: Sequence[str] = (), **fresh: object) -> None:
        super().__init__()
        self._model = model
        self._fresh = fresh
        self._fields = [
            field
            for field in model._meta.concrete_fields
            if not isinstance(field, AutoField) and (field.name in told or not field.has_db_default())
        ]

    def run(self, row: Model, **values: object) -> None:
        """Store a new row."""
        with self._executed({field.attname: getattr(row, field.attname) for field in self._fields} | values):
            row._state.adding = False

    def _make(self) -> Made:
        query = InsertQuery(self._model)
        row = self._model(**{field.attname: Given(field.attname, field) for field in self._fields} | self._fresh)
        query.insert_values(self._fields, [row])
        [statement] = _compiler(query).as_sql()
        return Made(*statement)


def _compiler(query: Query) -> Any:
    return query.get_compiler(connection=connection)


def _read(rows: list[Row], made: Made) -> list[Row]:
    if not made.readers:
        return rows
    database = connections[DEFAULT_DB_ALIAS]
    found = [list(row) for row in rows]
    for at, functions, column in made.readers:
        for values in found:
            for function in functions:
                values[at] = function(values[at], column, database)
    return list(map(tuple, found))
