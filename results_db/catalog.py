"""Refuses a results file whose catalog holds what unPact never puts there.

A file that somebody sent may bring views, macros and triggers, which run when one of our questions
reads a table. Its library is sealed (see library.py), so they reach nothing outside the file; here
the file itself is refused, in one line, before anything of it is read.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from results_db import summaries
from results_db.library import Connection, sealed
from results_db.tables import schemas

HARMLESS = {  # table functions that read nothing but what they are given, or a table by its name
    "generate_series", "json_each", "json_tree", "query_table", "range", "repeat", "unnest",
}  # fmt: skip
HERE = "database_name = current_database() AND NOT internal"


class ForeignObjectError(ValueError):
    """The file brings a view, macro or trigger where unPact has none, or one that reads outside."""


def check(file: Path, connection: Connection) -> None:
    """Look through the catalog of an open file.

    Args:
        file: Its name, for the message.
        connection: Its unqualified names are the file's.

    Raises:
        ForeignObjectError: A table of ours is a view; a view or macro calls a function that reads
            outside its tables; or there is a trigger.
    """
    views = _texts(connection, f"SELECT view_name, sql FROM duckdb_views() WHERE {HERE}")
    for name in sorted(views.keys() & _own_tables()):
        raise _refused(file, f"{name!r} is a view there, and a table in every file of unPact")
    for (name,) in connection.execute(
        "SELECT trigger_name FROM duckdb_triggers() WHERE database_name = current_database()"
    ).fetchall():
        raise _refused(file, f"it has a trigger, {name!r}, and no file of unPact has one")
    macros = _texts(
        connection, f"SELECT function_name, macro_definition FROM duckdb_functions() WHERE {HERE}"
    )
    for name, text in sorted((*views.items(), *macros.items())):
        if called := _outside().search(text):
            raise _refused(file, f"{name!r} calls {called[1]}, which reads outside its tables")


def _refused(file: Path, found: str) -> ForeignObjectError:
    return ForeignObjectError(
        f"{file}: {found}; it is not read: ask whoever sent it for `unpact db export`, and read"
        " that with `unpact db import`"
    )


@cache
def _own_tables() -> frozenset[str]:
    return frozenset((*schemas(), *summaries.names()))


@cache
def _outside() -> re.Pattern[str]:
    """Match a call of a table function, but for the harmless ones, in text that DuckDB wrote."""
    with sealed() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions()"
            " WHERE function_type IN ('table', 'table_macro')"
        ).fetchall()
    names = sorted({str(row[0]) for row in rows} - HARMLESS, key=len, reverse=True)
    return re.compile(rf'(?<!\w)"?({"|".join(map(re.escape, names))})"?\(', re.IGNORECASE)


def _texts(connection: Connection, sql: str) -> dict[str, str]:
    """Definitions by lower-case name; of an overloaded macro all of them."""
    texts: dict[str, str] = {}
    for name, text in connection.execute(sql).fetchall():
        texts[name.lower()] = texts.get(name.lower(), "") + str(text) + "\n"
    return texts
