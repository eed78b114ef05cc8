"""Rows of a tab-separated file, in which quotation marks enclose cells, as in CSV, or are part of the texts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

Row = list[tuple[str, bool]]  # its cells, and whether each is enclosed in quotation marks
SHOWN = 5  # rows that a sentence lists


def read_rows(text: str, separator: str) -> tuple[list[list[str]], list[str]]:
    """(cells of every row, [] for a blank line; sentences on quotation marks that could be meant otherwise)."""
    lines = re.split(r"\r\n|\r|\n", text)
    bare = [line.split(separator) if line else [] for line in (lines if lines[-1] else lines[:-1])]
    if '"' not in text:
        return bare, []
    rows = list(_scanned(text, separator))
    is_single = len(next(filter(None, rows), [])) == 1
    wide = _places(rows, lambda cell: _holds_rows(*cell, "" if is_single else separator))
    if not _encloses(rows, bare, separator):
        marked = _places(bare, lambda cell: len(cell) > 1 and cell[0] == cell[-1] == '"')
        remarks = [f"{marked}: quotation marks around a whole cell were read as part of it."] if marked else []
        if is_single and wide:
            opened = _places(bare, lambda cell: cell[:1] == '"' and not cell[1:].endswith('"'))
            remedy = "if it encloses one text with line breaks, put the name of the column in quotation marks too"
            remarks.append(f"{opened}: a quotation mark is opened and closed in a later row; {remedy}.")
        return bare, remarks
    remarks = []
    if loose := _places(rows, lambda cell: not cell[1] and '"' in cell[0]):
        remarks.append(f"{loose}: quotation marks that enclose no cell were read as part of it.")
    if wide:
        holds = "line breaks" if is_single else "tabs and line breaks"
        remedy = "if these are rows of their own, take out the quotation marks"
        remarks.append(f"{wide}: a cell in quotation marks has {holds} in it; {remedy}.")
    return [[cell for cell, _ in row] for row in rows], remarks


def _scanned(text: str, separator: str) -> Iterator[Row]:
    """The rows where quotation marks enclose every cell that begins with one and ends with its counterpart."""
    end = re.escape(separator)
    pattern = re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"(?=[{end}\r\n]|\Z)|([^{end}\r\n]*))({end}|\r\n|\r|\n|\Z)')
    row: Row = []
    for match in pattern.finditer(text):
        enclosed, bare, end = match.groups()
        if match.start() == len(text) and not row:  # behind the last line end
            break
        row.append((bare, False) if enclosed is None else (enclosed.replace('""', '"'), True))
        if end != separator:
            yield row if row != [("", False)] else []
            row = []


def _encloses(rows: list[Row], bare: list[list[str]], separator: str) -> bool:
    """Whether quotation marks enclose cells: the header's, two whole columns, or as more rows then fit the header."""
    header, *rows = filter(None, rows)
    if all(is_enclosed for _, is_enclosed in header):
        return True
    columns: dict[int, Counter] = defaultdict(Counter)
    for row in rows:
        for place, (cell, is_enclosed) in enumerate(row):
            columns[place][is_enclosed] += cell != ""
    if sum(counts[True] > 0 and 10 * counts[False] <= counts[True] for counts in columns.values()) > 1:
        return True
    # Marks around nothing, and marks doubled inside a cell, speak for it; marks in a cell that none enclose, against it.
    score = 0
    for cell, is_enclosed in (cell for row in rows for cell in row):
        if is_enclosed:
            score += cell == "" or '"' in cell
        else:
            score -= '"' in cell
    if len(header) == 1:  # every line is a row that fits; one text with line breaks could be two between bare marks
        score += max(0, sum(_holds_rows(*cell, "") for row in rows for cell in row) - 1)
    else:
        for row in rows:
            fits = len(row) == len(header) and not any(_holds_rows(*cell, separator) for cell in row)
            score += 2 if fits else -2
        for row in list(filter(None, bare))[1:]:
            score -= 2 if len(row) == len(header) else -2
    return score > 0


def _holds_rows(cell: str, is_enclosed: bool, separator: str) -> bool:
    """Whether an enclosed cell could be several rows, between marks that belong to texts; with '' those of a single column."""
    return is_enclosed and separator in cell and ("\n" in cell or "\r" in cell)


def _places(rows: list[list], is_meant: Callable) -> str:
    """'row 2, 3' for the rows with a cell that is meant; '' for none."""
    numbers = [str(number) for number, row in enumerate(rows, 1) if any(map(is_meant, row))]
    return f"row {', '.join(numbers[:SHOWN])}{', …' if len(numbers) > SHOWN else ''}" if numbers else ""
