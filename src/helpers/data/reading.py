"""A user's table, read from a file, a folder or the hub; `tables` makes records of it.

A mistake in it is one UserError that names the file, the row and the remedy. The index of a table is the row's number
as a spreadsheet shows it: the header of a CSV or TSV file is row 1; in JSONL it is the line. What was guessed, merged
or left out on the way is a list of sentences in `table.attrs["remarks"]`.

A file is read in batches, in constant memory: what only the whole of it can say, such as its encoding, is found in a
pass of its own. An .xlsx file, a data set of the hub and an embedded one are held whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from helpers import env
from helpers.data import embedded
from helpers.data.arrow import open_parquet, read_dataset
from helpers.data.batched import (
    Rows,
    Source,
    add_remark,
    blank_remark,
    changed,
    column_name,
    column_names,
    digest_of,
    framed,
    held,
    listed,
)
from helpers.data.decoding import decoded
from helpers.data.delimited import below_header, open_delimited
from helpers.env import UserError
from helpers.italian.addressees import WORKPLACE
from helpers.text import clean, quoted
from helpers.text import name as cleaned_name

MOST_FIELDS = 1000  # of all objects of a .jsonl together: every row gets a cell for each


def read_table(path: str, text_column: str, sample: int = 0, seed: int = 0, scope: str = WORKPLACE) -> pd.DataFrame:
    """Read a table of texts; raises UserError naming the file and, where there is one, the row at fault.

    Parameters
    ----------
    path : str
        A CSV, TSV, JSONL, Parquet or .xlsx file, a folder of .txt files, an embedded set, or `hf:owner/name`.
    text_column : str
        Column with the texts, as `column_name` finds it; for a folder, the name that this column gets.
    sample, seed : int
        Number of generated rows and their random seed, for the embedded job ads only.
    scope : str
        Whose gendered forms count (`addressees.SCOPES`), for the embedded Italian sets only.
    """
    if path.startswith(embedded.PREFIX):
        return embedded.read_embedded(path, sample, seed, scope)
    remarks: list[str] = []
    table = pd.concat(open_table(path, text_column).batches(remarks))
    add_remark(table, *remarks)
    return table


def open_table(path: str, text_column: str, instead: str = "") -> Source:
    """What `read_table` reads, to be read in batches; the mistakes in its rows are found there.

    A table without the column of the texts is taken where it has that which will do `instead`.
    """
    if not path:
        example = "give a file or folder of texts, as in -p data_path my.csv"
        raise UserError(f"Parameter data_path is empty: {example}.")
    file = env.resolve(path)
    if path.startswith(embedded.PREFIX):
        source = held(path, embedded.read_embedded(path))
    elif file.exists():
        source = _open_file(file, text_column)
    elif path.startswith("hf:"):
        source = held(path, read_dataset(path))
    else:
        problem = f"data_path {path!r} is not a file or folder (looked for {file})"
        raise UserError(f"{problem}: check the path; a hub data set is written hf:owner/name.")
    names = list(dict.fromkeys(filter(None, [text_column, instead])))
    if not any(column_name(source, name) in source.columns for name in names):
        missing = " and no ".join(f"column {name!r}" for name in names)
        problem = f"{path} has no {missing}: set text_column to one of {listed(source.columns)}"
        if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            problem += ". If row 1 is no header, write the names of the columns above it"
        raise UserError(f"{problem}.")
    if next(source.batches()).empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return source


def open_lines(lines: Callable[[], Iterable[str]], text_column: str) -> Source:
    """Lines, which end in `\\n`, as a table of one column."""

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        return framed([text_column], ((n, [line.removesuffix("\n")]) for n, line in enumerate(lines(), 1)))

    return Source("Standard input", [text_column], frames)


def _open_file(file: Path, text_column: str) -> Source:
    """A file or folder as a source."""
    readers = {".csv": open_delimited, ".tsv": open_delimited}
    readers |= {".jsonl": _open_json_lines, ".parquet": open_parquet, ".xlsx": _open_workbook}
    suffix = file.suffix.lower()
    if suffix not in readers and not file.is_dir():
        remedy = "give a .csv, .tsv, .jsonl, .parquet or .xlsx file, or a folder of .txt files"
        raise UserError(f"{file} ends in {suffix!r}: {remedy}.")
    try:
        if file.is_dir():
            return _open_folder(file, text_column)
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty: give a file with a header and at least one row.")
        content = digest_of((file,))  # before anything is read
        return replace(readers[suffix](file), files=(file,), content=content)
    except OSError as error:
        raise UserError(f"{file} could not be read ({error.strerror or error}): check the file.") from error


def _open_json_lines(file: Path) -> Source:
    lines, notes = decoded(file, "\n")
    names: dict[str, str] = {}  # a key as written → as cleaned
    for _ in _json_rows(file, lines(), names, []):  # the last row may have a column of its own
        pass
    columns = list(dict.fromkeys(names.values()))

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += notes
        rows = _json_rows(file, lines(), names, remarks)
        # None where a row lacks a field: beside NaN, a whole number is written as a decimal, without its last digits.
        return framed(columns, ((number, cells(row)) for number, row in rows))

    def cells(row: dict) -> list:
        values = [row.pop(column, None) for column in columns]
        if row:
            raise changed(str(file))
        return values

    return Source(str(file), columns, frames)


def _json_rows(
    file: Path, lines: Iterator[str], names: dict[str, str], remarks: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and fields of each row, whose names are added to `names`; raises UserError at a line that is none."""
    number, blank = 0, 0

    def fields(pairs: list[tuple[str, Any]]) -> dict:
        row = dict(pairs)
        if len(row) < len(pairs):
            twice = quoted(Counter(key for key, _ in pairs).most_common(1)[0][0])
            raise UserError(f"{file}, line {number}: the field {twice} stands twice; rename or delete one.")
        return row

    for number, line in enumerate(lines, 1):
        if not line.strip():
            blank += 1
            continue
        try:
            row = json.loads(line.removesuffix("\n"), object_pairs_hook=fields)
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            problem = f"{file}, line {number}: not valid JSON ({str(error).splitlines()[0]})"
            raise UserError(f"{problem}; correct or delete that line.") from error
        if not isinstance(row, dict):
            raise UserError(f'{file}, line {number}: a JSON object is expected, like {{"text": "…"}}.')
        for key in row:
            names.setdefault(key, cleaned_name(key))
        if len(names) > MOST_FIELDS:
            problem = f"{file}, line {number}: with this one the rows have more than {MOST_FIELDS:,} different fields"
            raise UserError(f"{problem}; put those that differ from row to row into one field, as a list or an object.")
        cleaned = {names[key]: value for key, value in row.items()}
        if len(cleaned) < len(row):
            raise UserError(f"{file}, line {number}: two fields have one name ({listed(row)}); rename one.")
        yield number, cleaned
    if blank:
        remarks.append(blank_remark(file, blank))


def _open_workbook(file: Path) -> Source:
    """The first sheet of an Excel file, held whole, its first row that is not empty as the header."""
    try:
        import openpyxl
    except ImportError as error:
        remedy = 'pip install "ambo-notebooks[excel]", or save the file as CSV'
        raise UserError(f"{file}: an Excel file is read by openpyxl, which is not installed: {remedy}.") from error
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet, names = book.worksheets[0], book.sheetnames
        sheet.reset_dimensions()  # else one formatted cell at the far end makes every row as long
        rows = [[_workbook_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # of a damaged file: errors of zip, XML and many others
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} is not an .xlsx file that can be read ({reason}): save it again.") from error
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell != "" for cell in row)]
    first, header = filled[0] if filled else (1, [])
    while header and header[-1] == "":  # cells that once were formatted
        header.pop()
    columns = column_names(f"{file}, row {first}", list(map(str, header)), file)
    for number, row in filled[1:]:
        if any(cell != "" for cell in row[len(columns) :]):
            counts = f"it has cells to the right of the last column that the header names ({quoted(columns[-1])})"
            raise UserError(f"{file}, row {number}: {counts}; name the column, or empty them.")
    rows = [(number, row[: len(columns)] + [""] * (len(columns) - len(row))) for number, row in filled[1:]]
    blank = filled[-1][0] - first - len(rows) if rows else 0

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        yield from framed(columns, below_header(file, header, iter(rows), remarks))
        if blank:
            remarks.append(blank_remark(file, blank))
        if len(names) > 1:
            remarks.append(f"{file}: the first of its {len(names)} sheets was read ({quoted(names[0])}).")

    return Source(str(file), columns, frames)


def _workbook_text(cell: object) -> object:
    """A cell with '' for an empty one and for an error such as #N/A."""
    return "" if cell is None or (isinstance(cell, str) and cell in ("#N/A", "#NULL!", "#VALUE!", "#REF!")) else cell


def _open_folder(folder: Path, text_column: str) -> Source:
    """One row for every .txt file in the folder or below it, but those that a system hides there."""
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".txt" and path.is_file())
        if out := next((p for p in paths if not p.resolve().is_relative_to(folder.resolve())), None):
            raise UserError(f"{out} is a link that leads out of its folder: put the file itself there.")
    except OSError as error:  # a folder in it that goes away meanwhile
        raise UserError(f"{folder} cannot be read ({error}): give a folder of .txt files alone.") from error
    files = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    if not files:
        raise UserError(f"{folder} has no .txt files: put one text in each, or give a table.")
    hidden = [path.relative_to(folder).as_posix() for path in paths if _is_hidden(path.relative_to(folder))]
    columns = column_names(str(folder), [text_column, "file"], folder)

    def rows(remarks: list[str]) -> Rows:
        for number, file in enumerate(files, 1):
            lines, notes = decoded(file)
            remarks += notes
            text = "".join(lines()).rstrip("\r\n")  # the line end of a file is no part of its text
            yield number, [text, clean(file.relative_to(folder).as_posix())]
        if hidden:
            remarks.append(f"{folder}: {len(hidden)} hidden files left out ({listed(hidden, 3)}).")

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        return framed(columns, rows(remarks))

    return Source(str(folder), columns, frames, tuple(files), digest_of(tuple(files)))


def _is_hidden(path: Path) -> bool:
    """Whether a path in a folder is no text of the user, such as what macOS puts beside every file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
