"""CSV and TSV files: their separator, their header, and rows that do not fit it."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from helpers.data import tabbed
from helpers.data.batched import Places, Rows, Source, blank_remark, column_names, framed, listed
from helpers.data.decoding import decoded
from helpers.env import UserError
from helpers.text import name as cleaned_name

SAMPLE = 100  # rows from which the separator is guessed


def open_delimited(file: Path) -> Source:
    lines, notes = decoded(file)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a C long, which has 32 bits on Windows
    is_tsv = file.suffix.lower() == ".tsv"
    separator, skipped = _separator(lines, is_tsv)

    def body() -> Iterator[str]:
        return islice(lines(), skipped, None)

    is_quoted = is_tsv and tabbed.encloses(body, separator)

    def numbered(remarks: list[str]) -> Rows:
        if not is_tsv:
            return _delimited_rows(file, body(), separator)
        return enumerate(tabbed.read_rows(body(), separator, is_quoted, str(file), remarks), 1)

    def headed(rows: Rows) -> tuple[list, list[str]]:
        """(header, names of the columns), taken off the rows."""
        first, header = next(((number, row) for number, row in rows if any(row)), (1, []))
        return header, column_names(f"{file}, row {first}", header, file)

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += notes
        rows = numbered(remarks)
        header, columns = headed(rows)
        sound = _sound_rows(file, rows, len(columns), is_tsv, remarks)
        return framed(columns, below_header(file, header, sound, remarks))

    return Source(str(file), headed(numbered([]))[1], frames)


def _sound_rows(file: Path, rows: Rows, width: int, is_tsv: bool, remarks: list[str]) -> Rows:
    """The rows that have as many cells as the header; raises UserError at one that has not."""
    blank, short = 0, Places()
    for number, row in rows:
        missing = width - len(row)
        if not row or (len(row) == 1 and row[0].isspace()):
            blank += 1
        elif not any(map(str.strip, row)):
            yield number, [""] * width
        elif is_tsv and missing > 0:
            short.add(number)
            yield number, row + [""] * missing
        elif missing:
            remedy = "put quotes around a text with a separator or a line break"
            if is_tsv:
                remedy = "take the tab out of the text"
            counts = f"the number of cells is {len(row)}, but in the header {width}"
            raise UserError(f"{file}, row {number}: {counts}; {remedy}.")
        else:
            yield number, row
    if short.count:
        several = f" ({short.count:,} in all)" if short.count > 1 else ""
        rest = "fewer cells than in the header; those at the end were read as empty"
        remarks.append(f"{file}, row {listed(short.first, 5)}{several}: {rest}.")
    if blank:
        remarks.append(blank_remark(file, blank))


def below_header(file: Path, header: list, rows: Rows, remarks: list[str]) -> Rows:
    """The rows without those that are the header again, as where files were joined.

    Below a header in another order the cells are put in the order of the first one.
    """
    names = [_look(name, len(header)) for name in header]
    order, repeated, moved = names, Places(), Places()
    for number, row in rows:
        again = [_look(cell, len(header)) for cell in row] if _look(row[0], len(header)) in names else []
        if again == names or (sorted(again) == sorted(names) and len(set(names)) == len(names)):
            order = again
            (repeated if again == names else moved).add(number)
        else:
            yield number, row if order == names else [row[order.index(name)] for name in names]
    if repeated.count:
        remarks.append(f"{file}, row {listed(repeated.first)}: the header again, as where files were joined; left out.")
    if moved.count:
        rest = "left out, and the cells below it put in the order of the first"
        remarks.append(f"{file}, row {listed(moved.first)}: the header again, in another order; {rest}.")


def _look(cell: object, columns: int) -> str:
    """What headers that are the same have in common; in a list of words, `Text` below `text` is a word."""
    look = cleaned_name(str(cell)).strip('"')
    return look.casefold() if columns > 1 else look


def _separator(lines: Callable[[], Iterator[str]], is_tsv: bool) -> tuple[str, int]:
    """(what separates the cells, 1 where the first line says so, as Excel reads and writes it, otherwise 0)."""
    first = next(lines(), "")
    if declared := re.fullmatch(r'"?sep=([^\r\n])"?[ \t,;]*[\r\n]*', first, re.IGNORECASE):
        return declared[1], 1
    if is_tsv:
        return "\t", 0
    # Excel writes semicolons where the decimal mark is a comma. Of the separators under which a row has the cells of
    # the header, the one that does so in most rows, then the one with most columns.
    best, choice = (0.0, 1), ","
    for separator in ",;\t":
        reader = csv.reader(lines(), delimiter=separator)
        header, *rows = list(islice(filter(any, reader), SAMPLE)) or [[]]
        if len(header) > 1:
            share = sum(len(row) == len(header) for row in rows) / max(1, len(rows))
            if (share, len(header)) > best:
                best, choice = (share, len(header)), separator
    return choice, 0


def _delimited_rows(file: Path, lines: Iterator[str], separator: str) -> Rows:
    """Number and cells of each row; raises UserError naming the line where a quotation is not closed."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for number, row in enumerate(reader, 1):
            yield number, row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = f"{file}, line {line}: a quotation mark is not closed where the cell ends ({error})"
        raise UserError(f"{problem}; close it, and double the quotation marks inside a text.") from error
