"""Which errors are the user's to mend, and what they say on one line."""

from __future__ import annotations


def is_for_the_user(error: Exception) -> bool:
    """Whether the user can mend it: our own types, the operating system's and DuckDB's."""
    home = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or home in ("engine", "results_db", "duckdb", "_duckdb")


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


class PlanError(ValueError):
    """A plan that cannot be run; one line says which key and what would do."""
