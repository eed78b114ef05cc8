"""A table that is read in batches, and what sentences say of its rows and columns."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.env import UserError
from helpers.files import open_regular
from helpers.text import name as cleaned_name
from helpers.text import quoted

MOST_NAMES = 20  # names that a sentence lists
BATCH, CHARACTERS = 1024, 1_000_000  # a batch ends with the row that reaches one of them
Rows = Iterator[tuple[int, list]]  # number and cells of every row


@dataclass(frozen=True)
class Source:
    """A table that can be read again and again.

    Attributes
    ----------
    where : str
        What a sentence calls it.
    columns : list of strings
    frames : function
        Yields tables, an empty one where there are no rows, and adds remarks to the list that it is given. The second
        argument is `exact` of `batches`.
    files : tuple of Paths
        What `frames` reads, and `content`, its digest before anything of it was.
    """

    where: str
    columns: list[str]
    frames: Callable[[list[str], bool], Iterator[pd.DataFrame]]
    files: tuple[Path, ...] = ()
    content: str = ""

    def batches(self, remarks: list[str] | None = None, exact: bool = False) -> Iterator[pd.DataFrame]:
        """Yield the rows in tables of BATCH rows or about CHARACTERS characters, with their numbers as index.

        Parameters
        ----------
        remarks : list of strings, optional
            Gets the remarks; it is complete when the last batch has been read.
        exact : bool
            Keeps the columns of a Parquet file in their types, which another one can hold, instead of Python's.

        Raises
        ------
        UserError
            At the row that is at fault, and where the files have changed since they were opened.
        """
        try:
            for table in self.frames([] if remarks is None else remarks, exact):
                if list(table.columns) != self.columns:
                    raise changed(self.where)
                yield table
            if digest_of(self.files) != self.content:
                raise changed(self.where)
        except (OSError, UnicodeError) as error:  # that of a file that has changed since its encoding was found
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.where} could not be read ({reason}): check the file.") from error


def changed(where: str) -> UserError:
    """What to say of a file that is not what it was when it was opened."""
    return UserError(f"{where} has changed while it was read: give the command again when nothing writes there.")


def digest_of(files: tuple[Path, ...]) -> str:
    """sha256 over the contents of files; '' without one."""
    whole = hashlib.sha256()
    for file in files:
        with open(file, "rb", opener=open_regular) as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest() if files else ""


def held(where: str, table: pd.DataFrame) -> Source:
    """A table in memory as a source."""

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += table.attrs.get("remarks", [])
        return sliced(table)

    return Source(where, list(table.columns), frames)


def framed(columns: list[str], rows: Rows) -> Iterator[pd.DataFrame]:
    """Tables of numbered rows, as `Source.batches` describes them."""
    size, part, count = 0, [], 0
    for row in rows:
        part.append(row)
        size += sum(len(str(cell)) for cell in row[1])
        if len(part) == BATCH or size >= CHARACTERS:
            yield _frame(columns, part)
            size, part, count = 0, [], count + 1
    if part or not count:
        yield _frame(columns, part)


def _frame(columns: list[str], rows: list[tuple[int, list]]) -> pd.DataFrame:
    index = pd.Index([number for number, _ in rows], dtype=int)
    return pd.DataFrame([cells for _, cells in rows], columns=columns, index=index, dtype=object)


def sliced(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A table in parts, as `Source.batches` describes them, each column in its type."""
    start = 0
    for part in framed(list(table.columns), zip(table.index, table.itertuples(index=False, name=None), strict=True)):
        yield table.iloc[start : start + len(part)]
        start += len(part)


# --- names and sentences ---


def column_name(table: pd.DataFrame | Source, name: str) -> str:
    """What the table calls the column of a parameter, which may have blanks or another form of Unicode."""
    return name if name in table.columns else cleaned_name(name)


def column_names(where: str, header: list[str], file: Path) -> list[str]:
    """Names of the columns, those without one numbered; raises UserError when two are the same."""
    if not header:
        raise UserError(f"{file} is empty: give a file with a header and at least one row.")
    names = list(map(cleaned_name, header))
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise UserError(f"{where}: two columns are called {quoted(name)}; rename one.")
    return [name or f"column {i}" for i, name in enumerate(names, 1)]


def add_remark(table: pd.DataFrame, *sentences: str) -> None:
    """Put sentences among the table's remarks, each once."""
    remarks = table.attrs.setdefault("remarks", [])
    remarks += [sentence for sentence in dict.fromkeys(sentences) if sentence not in remarks]


def listed(names: Iterable, most: int = MOST_NAMES) -> str:
    """Names for a sentence, long ones and long lists cut."""
    words = [word if len(word) <= 60 else f"{word[:59]}…" for word in map(str, names)]
    return ", ".join([*words[:most], *(["…"] if len(words) > most else [])])


class Places:
    """The numbers of rows of which a sentence lists the first ones."""

    def __init__(self):
        self.first, self.count = [], 0

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) <= MOST_NAMES:
            self.first.append(number)


def blank_remark(file: Path, blank: int) -> str:
    return f"{file}: {blank:,} blank line{' is no row and was' if blank == 1 else 's are no rows and were'} skipped."
