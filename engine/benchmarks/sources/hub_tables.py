"""Tables of a data set: from a local folder laid out like its hub repository, or from the hub.

What is documented of each table stands in the benchmark's own module, as `Table`s: which columns
are read, and why the others are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.benchmarks.sources.hub_files import MAX_LINE, DataError, check_file, check_inside

Row = dict[str, Any]
Kind = Literal["text", "texts", "index"]
KINDS = {
    "text": "a text that is not blank",
    "texts": "a list of texts",
    "index": "a whole number from 0",
}


@dataclass(frozen=True)
class Table:
    """What is documented of one table (the hub calls it a config) of a data set."""

    splits: tuple[str, ...]
    used: Mapping[str, Kind] = field(default_factory=dict)  # columns that are read
    ignored: Mapping[str, str] = field(default_factory=dict)  # columns, and why they are not read

    @property
    def columns(self) -> set[str]:
        """Every documented column."""
        return {*self.used, *self.ignored}


@dataclass(frozen=True)
class Source:
    """Where the tables of a data set are."""

    benchmark: str  # that asks: named in errors
    path: str  # a folder in the hub's layout, or an id on the hub
    revision: str | None = None  # branch, tag or commit; of a hub id alone
    setting: str = "benchmark.path"  # where a plan says it

    def rows(self, config: str, columns: Mapping[str, Kind], split: str = "train") -> list[Row]:
        """All rows of one split of a table.

        Args:
            config: the table's name, such as forget05_perturbed.
            columns: those to read, with what each holds.
            split: of the table.

        Raises:
            DataError: if there is no such folder, hub id, table or split; if a file lies outside
            the folder or cannot be read; if a column is missing or holds something else.
        """
        table = self.table(config, split)
        where = f"{self.benchmark}: {self.path}: {config}"
        check_columns(list(columns), table.column_names, where)
        wanted = table.select_columns(list(columns))
        if not len(wanted):
            raise DataError(f"{where} has no row in split {split!r}")
        return [checked(row, columns, f"{where}, {split} row {i}") for i, row in enumerate(wanted)]

    def configs(self) -> list[str]:
        """Names of all tables.

        Raises:
            DataError: if there is no such folder or hub id, or it cannot be read.
        """
        import datasets

        folder = self._folder()
        try:
            names = datasets.get_dataset_config_names(
                str(folder or self.path), revision=self.revision
            )
        except Exception as error:  # datasets, pyarrow and the hub raise types of their own
            raise DataError(
                f"{self.benchmark}: {self.path} cannot be read: {reason(error)}"
            ) from error
        return list(names)

    def has_split(self, config: str, split: str) -> bool:
        """Whether a table has a split of that name.

        Raises:
            DataError: if the table cannot be read.
        """
        import datasets

        folder = self._folder()
        try:
            names = datasets.get_dataset_split_names(
                str(folder or self.path), config, revision=self.revision
            )
        except Exception as error:  # datasets, pyarrow and the hub raise types of their own
            raise DataError(
                f"{self.benchmark}: {self.path}: {config} cannot be read: {reason(error)}"
            ) from error
        return split in names

    def table(self, config: str, split: str) -> Any:  # noqa: ANN401 - a datasets.Dataset, imported late
        """One split of a table, as datasets gives it; raises as `rows` does, columns aside."""
        import datasets

        datasets.disable_progress_bars()
        folder = self._folder()
        where = f"{self.benchmark}: {self.path}: {config}"
        try:
            builder = datasets.load_dataset_builder(
                str(folder or self.path), config, revision=self.revision
            )
            files = builder.config.data_files or {}
            if split not in files:
                raise DataError(f"{where} has no split {split!r}. It has: {', '.join(files)}")
            if folder:
                check_inside(folder, (file for part in files.values() for file in part), where)
                for file in files[split]:
                    check_file(Path(file), where)
            builder.download_and_prepare()
            return builder.as_dataset(split=split)
        except DataError:
            raise
        except ConnectionError as error:
            raise DataError(
                f"{self.benchmark}: {self.path}: no such folder, and the hub is not asked or not "
                f"reached: set {self.setting} to a folder in the hub's layout, or HF_HUB_OFFLINE=0 "
                f"to ask the hub"
            ) from error
        except Exception as error:  # datasets, pyarrow and the hub raise types of their own
            raise DataError(f"{where} cannot be read: {reason(error)}") from error

    def _folder(self) -> Path | None:
        """The local folder; None for a hub id."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            if _is_hub_id(self.path):
                return None
            raise DataError(
                f"{self.benchmark}: {self.path}: no such folder (setting {self.setting})"
            )
        if self.revision is not None:
            raise DataError(
                f"{self.benchmark}: {self.path} is a folder, which has no revision "
                f"{self.revision!r}: leave it out"
            )
        return folder


def _is_hub_id(path: str) -> bool:
    """Whether a path has the form owner/name."""
    owner, slash, name = path.partition("/")
    return bool(slash and owner.strip(".~") and name.strip(".")) and "/" not in name


def reason(error: Exception) -> str:
    """What an error says, on one line and cut; of a library's general one, what its cause says."""
    general = type(error).__name__ == "DatasetGenerationError"
    said = error.__cause__ if general and error.__cause__ else error
    columns = [getattr(said, f"{which}_column_names", ()) for which in ("table", "requested")]
    if all(columns):  # a CastError
        one, other = (", ".join(names) for names in columns)
        return f"a file of it has the columns {one}, another has {other}"
    return " ".join(str(said).split())[:300] or type(said).__name__


def check_columns(wanted: Sequence[str], found: Sequence[str], where: str) -> None:
    """Raise DataError for the first column that is not there, naming those that are."""
    missing = [column for column in wanted if column not in found]
    if missing:
        raise DataError(f"{where} has no column {missing[0]!r}. It has: {', '.join(found)}")


def checked(row: Row, columns: Mapping[str, Kind], where: str) -> Row:
    """The row, if every column holds what it is to hold.

    Raises:
        DataError: naming the first column that does not.
    """
    for column, kind in columns.items():
        if not _holds(row[column], kind):
            found = shown(row[column])
            raise DataError(f"{where}: column {column!r} is to be {KINDS[kind]}, found {found}")
    return row


def _holds(value: object, kind: Kind) -> bool:
    if kind == "index":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind == "texts":
        return isinstance(value, list) and bool(value) and all(_is_text(text) for text in value)
    return _is_text(value) and bool(str(value).strip())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_LINE and is_unicode(value)


def is_unicode(text: str) -> bool:
    r"""Whether a text can be written as UTF-8: no half of a pair of surrogates.

    >>> is_unicode("naïve"), is_unicode("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """A value, cut to a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
