"""Rows of a tab-separated file, in which quotation marks enclose cells, as in CSV, or are part of the texts.

The lines come with their ends and are read once, so that a file of any size is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from helpers.data.batched import Places, listed

Row = list[tuple[str, bool]]  # its cells, and whether each is enclosed in quotation marks
SHOWN = 5  # rows that a sentence lists
LONGEST = 10_000_000  # characters of a cell in quotation marks; where none closes by then, the first is part of a text
PIECE = 100_000  # characters that are scanned at once


def read_rows(
    lines: Iterable[str], separator: str, is_quoted: bool, where: str, remarks: list[str]
) -> Iterator[list[str]]:
    """The cells of every row, [] for a blank line; `remarks` gets sentences on marks that could be meant otherwise."""
    is_single = None
    if not is_quoted:
        marked, spread = Places(), Places()
        opened = 0  # the row with a quotation mark that is not yet closed
        for number, row in enumerate(_bare(lines, separator), 1):
            is_single = len(row) == 1 if row and is_single is None else is_single
            if any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in row):
                marked.add(number)
            if is_single and row and row[0].count('"') % 2:
                if opened and row[0].endswith('"'):
                    spread.add(opened)
                opened = number if not opened and row[0].startswith('"') else 0
            yield row
        if marked.count:
            remarks.append(
                f"{where}, row {listed(marked.first, SHOWN)}: quotation marks around a whole cell were read as part of it."
            )
        if spread.count:
            remedy = "if it encloses one text with line breaks, put the name of the column in quotation marks too"
            remarks.append(
                f"{where}, row {listed(spread.first, SHOWN)}: a quotation mark is opened and closed in a later row; {remedy}."
            )
        return
    loose, wide = Places(), Places()
    for number, row in enumerate(_scanned(lines, separator), 1):
        is_single = len(row) == 1 if row and is_single is None else is_single
        if any(not is_enclosed and '"' in cell for cell, is_enclosed in row):
            loose.add(number)
        if any(_holds_rows(*cell, "" if is_single else separator) for cell in row):
            wide.add(number)
        yield [cell for cell, _ in row]
    if loose.count:
        remarks.append(
            f"{where}, row {listed(loose.first, SHOWN)}: quotation marks that enclose no cell were read as part of it."
        )
    if wide.count:
        remedy = "if these are rows of their own, take out the quotation marks"
        holds = "line breaks" if is_single else "tabs and line breaks"
        remarks.append(
            f"{where}, row {listed(wide.first, SHOWN)}: a cell in quotation marks has {holds} in it; {remedy}."
        )


def _bare(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The rows where every quotation mark is part of a text."""
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        yield text.split(separator) if text else []


def _scanned(lines: Iterable[str], separator: str) -> Iterator[Row]:
    """The rows where quotation marks enclose every cell that begins with one and ends with its counterpart."""
    end = re.escape(separator)
    enclosed = r'"([^"]*+(?:""[^"]*+)*+)"'
    pattern = re.compile(rf"(?:{enclosed}(?=[{end}\r\n]|\Z)|([^{end}\r\n]*))({end}|\r\n|\r|\n|\Z)")
    bare, open_ended = re.compile(rf"()([^{end}\r\n]*)({end}|\r\n|\r|\n|\Z)"), re.compile(rf'{enclosed[:-1]}"?\Z')
    lines, text, place, row = iter(lines), "", 0, []
    while True:
        match = pattern.match(text, place)
        is_open = text[place : place + 1] == '"' and open_ended.match(text, place) is not None
        if is_open and len(text) - place >= LONGEST:
            is_open, match = False, bare.match(text, place)
        # What reaches the end of what was read may go on.
        if (is_open or match.end() == len(text)) and (more := _piece(lines, max(PIECE, len(text) - place))):
            text, place = text[place:] + more, 0
            continue
        if match.start() == len(text) and not row:  # behind the last line end
            return
        cell, ended = match[2] if match[2] is not None else match[1], match[3]
        row.append((cell, False) if match[2] is not None else (cell.replace('""', '"'), True))
        place = match.end()
        if ended != separator:
            yield row if row != [("", False)] else []
            row = []
        if not ended:
            return


def _piece(lines: Iterator[str], size: int) -> str:
    """The next lines, until they have so many characters."""
    parts = []
    for line in lines:
        parts.append(line)
        size -= len(line)
        if size <= 0:
            break
    return "".join(parts)


def encloses(lines: Callable[[], Iterable[str]], separator: str) -> bool:
    """Whether quotation marks enclose cells: the header's, two whole columns, or as more rows then fit the header."""
    if not any('"' in line for line in lines()):
        return False
    rows = filter(None, _scanned(lines(), separator))
    header = next(rows, [])
    if all(is_enclosed for _, is_enclosed in header):
        return True
    columns: dict[int, Counter] = defaultdict(Counter)
    # Marks around nothing, and marks doubled inside a cell, speak for it; marks in a cell that none enclose, against it.
    score = several = 0
    for row in rows:
        for place, (cell, is_enclosed) in enumerate(row):
            columns[place][is_enclosed] += cell != ""
            if is_enclosed:
                score += cell == "" or '"' in cell
            else:
                score -= '"' in cell
            several += _holds_rows(cell, is_enclosed, "")
        if len(header) > 1:  # otherwise every line is a row that fits
            fits = len(row) == len(header) and not any(_holds_rows(*cell, separator) for cell in row)
            score += 2 if fits else -2
    if sum(counts[True] > 0 and 10 * counts[False] <= counts[True] for counts in columns.values()) > 1:
        return True
    if len(header) > 1:
        for row in islice(filter(None, _bare(lines(), separator)), 1, None):
            score -= 2 if len(row) == len(header) else -2
    else:  # one text with line breaks could be two between bare marks
        score += max(0, several - 1)
    return score > 0


def _holds_rows(cell: str, is_enclosed: bool, separator: str) -> bool:
    """Whether an enclosed cell could be several rows, between marks that belong to texts; with '' those of a single column."""
    return is_enclosed and separator in cell and ("\n" in cell or "\r" in cell)
