"""A user's table, read from a file, a folder or the hub; `tables` makes records of it.

A mistake in it is one UserError that names the file, the row and the remedy. The index of a table is the row's number
as a spreadsheet shows it: the header of a CSV or TSV file is row 1; in JSONL it is the line. What was guessed, merged
or left out on the way is a list of sentences in `table.attrs["remarks"]`.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from helpers import env
from helpers.data import embedded, tabbed
from helpers.env import UserError
from helpers.italian.addressees import WORKPLACE
from helpers.masking import without_secrets
from helpers.text import clean, quoted
from helpers.text import name as cleaned_name

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 100  # rows from which the separator is guessed
MOST_NAMES = 20  # names that a sentence lists


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
    if not path:
        example = "give a file or folder of texts, as in -p data_path my.csv"
        raise UserError(f"Parameter data_path is empty: {example}.")
    file = env.resolve(path)
    if file.is_dir():
        table = _read_folder(file, text_column)
    elif file.exists():
        table = _read_file(file)
    elif path.startswith("hf:"):
        table = _read_dataset(path)
    else:
        problem = f"data_path {path!r} is not a file or folder (looked for {file})"
        raise UserError(f"{problem}: check the path; a hub data set is written hf:owner/name.")
    if column_name(table, text_column) not in table.columns:
        problem = f"{path} has no column {text_column!r}: set text_column to one of {listed(table.columns)}"
        if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            problem += ". If row 1 is no header, write the names of the columns above it"
        raise UserError(f"{problem}.")
    if table.empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return table


def column_name(table: pd.DataFrame, name: str) -> str:
    """What the table calls the column of a parameter, which may have blanks or another form of Unicode."""
    return name if name in table.columns else cleaned_name(name)


def add_remark(table: pd.DataFrame, *sentences: str) -> None:
    """Put sentences among the table's remarks, each once."""
    remarks = table.attrs.setdefault("remarks", [])
    remarks += [sentence for sentence in dict.fromkeys(sentences) if sentence not in remarks]


def listed(names: Iterable, most: int = MOST_NAMES) -> str:
    """Names for a sentence, long ones and long lists cut."""
    words = [word if len(word) <= 60 else f"{word[:59]}…" for word in map(str, names)]
    return ", ".join([*words[:most], *(["…"] if len(words) > most else [])])


def _read_file(file: Path) -> pd.DataFrame:
    readers = {".csv": _read_delimited, ".tsv": _read_delimited}
    readers |= {".jsonl": _read_json_lines, ".parquet": _read_parquet, ".xlsx": _read_workbook}
    suffix = file.suffix.lower()
    if suffix not in readers:
        remedy = "give a .csv, .tsv, .jsonl, .parquet or .xlsx file, or a folder of .txt files"
        raise UserError(f"{file} ends in {suffix!r}: {remedy}.")
    try:
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty: give a file with a header and at least one row.")
        return readers[suffix](file)
    except OSError as error:
        raise UserError(f"{file} could not be read ({error.strerror or error}): check the file.") from error


# --- text in bytes ---


def _decoded(file: Path) -> tuple[str, list[str]]:
    """(text without byte order marks, remarks); raises UserError naming the first line that cannot be read."""
    content = file.read_bytes()
    encoding = _utf16(content) or "utf-8"
    remedy = "save the file as UTF-8 (in Excel: “CSV UTF-8”)"
    wrong, remarks = "if letters look wrong", []
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        if encoding != "utf-8":
            raise UserError(f"{file}, line {line}: not {encoding}; {remedy} and try again.") from error
        text, lines = _mended(content)
        guess = f"line {listed(lines, 10)}: bytes that are not UTF-8, as all others are, were read as Windows-1252"
        if not lines:
            guess = f"line {line}: not UTF-8, so the file was read as Windows-1252"
            try:
                text = content.decode("cp1252")
            except UnicodeDecodeError:
                problem = f"{file}, line {line}: not UTF-8 nor Windows-1252"
                raise UserError(f"{problem}; {remedy} and try again.") from error
        remarks = [f"{file}, {guess}; {wrong}, {remedy} and try again."]
    return re.sub(r"(?:^|(?<=[\r\n]))\ufeff", "", text), remarks  # every one of the files that were joined may have one


def _mended(content: bytes) -> tuple[str, list[int]]:
    """(text with single bytes read as Windows-1252, their lines) of what is UTF-8 for the most part; no lines otherwise."""
    text = content.decode("utf-8", "surrogateescape")  # a bad byte is half a character
    bad = re.compile("[\udc80-\udcff]")
    if not text.startswith("\ufeff") and 2 * len(bad.findall(text)) >= len(re.findall("[^\x00-\x7f]", text)):
        return text, []
    lines = [number for number, line in enumerate(text.split("\n"), 1) if bad.search(line)]
    text = re.sub("[\udce0-\udcf4][\udc80-\udcbf]{1,2}", "\ufffd", text)  # a character of which the end is missing
    return bad.sub(lambda match: bytes([ord(match[0]) - 0xDC00]).decode("cp1252", "replace"), text), lines


def _utf16(content: bytes) -> str:
    """The encoding if it is UTF-16, by its mark or by zeros at every other place; '' otherwise."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    high, low = content[:10_000:2], content[1:10_000:2]
    if low.count(0) > 2 * len(low) / 3 and not high.count(0):
        return "utf-16-le"
    return "utf-16-be" if high.count(0) > 2 * len(high) / 3 and not low.count(0) else ""


# --- CSV and TSV ---


def _read_delimited(file: Path) -> pd.DataFrame:
    text, remarks = _decoded(file)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a C long, which has 32 bits on Windows
    is_tsv = file.suffix.lower() == ".tsv"
    separator, text = _separator(text, is_tsv)
    if is_tsv:
        lines, more = tabbed.read_rows(text, separator)
        remarks += [f"{file}, {sentence}" for sentence in more]
        rows = iter(enumerate(lines, 1))
    else:
        rows = _delimited_rows(file, text, separator)
    first, header = next(((number, row) for number, row in rows if any(row)), (1, []))
    columns = _column_names(f"{file}, row {first}", header, file)
    sound, blank, short = [], 0, []
    for number, row in rows:
        missing = len(columns) - len(row)
        if not row or (len(row) == 1 and row[0].isspace()):
            blank += 1
        elif not any(map(str.strip, row)):
            sound.append((number, [""] * len(columns)))
        elif is_tsv and missing > 0:
            short.append(number)
            sound.append((number, row + [""] * missing))
        elif missing:
            remedy = "put quotes around a text with a separator or a line break"
            if is_tsv:
                remedy = "take the tab out of the text"
            counts = f"the number of cells is {len(row)}, but in the header {len(columns)}"
            raise UserError(f"{file}, row {number}: {counts}; {remedy}.")
        else:
            sound.append((number, row))
    if short:
        where = f"row {listed(short, 5)} ({len(short):,} in all)" if len(short) > 1 else f"row {short[0]}"
        remarks.append(f"{file}, {where}: fewer cells than in the header; those at the end were read as empty.")
    return _table_below(file, header, columns, sound, blank, remarks)


def _table_below(
    file: Path, header: list, columns: list[str], rows: list[tuple[int, list]], blank: int, remarks: list[str]
) -> pd.DataFrame:
    """The table of numbered rows without those that are the header again, as where files were joined.

    Below a header in another order the cells are put in the order of the first one.
    """
    names = [_look(name, len(header)) for name in header]
    order, repeated, moved, numbers, cells = names, [], [], [], []
    for number, row in rows:
        again = [_look(cell, len(header)) for cell in row] if _look(row[0], len(header)) in names else []
        if again == names or (sorted(again) == sorted(names) and len(set(names)) == len(names)):
            order = again
            (repeated if again == names else moved).append(number)
        else:
            numbers.append(number)
            cells.append(row if order == names else [row[order.index(name)] for name in names])
    if repeated:
        remarks = [*remarks, f"{file}, row {listed(repeated)}: the header again, as where files were joined; left out."]
    if moved:
        rest = "left out, and the cells below it put in the order of the first"
        remarks = [*remarks, f"{file}, row {listed(moved)}: the header again, in another order; {rest}."]
    if blank:
        remarks = [*remarks, _blank_remark(file, blank)]
    table = pd.DataFrame(cells, columns=columns, index=numbers, dtype=object)
    add_remark(table, *remarks)
    return table


def _look(cell: object, columns: int) -> str:
    """What headers that are the same have in common; in a list of words, `Text` below `text` is a word."""
    look = cleaned_name(str(cell)).strip('"')
    return look.casefold() if columns > 1 else look


def _blank_remark(file: Path, blank: int) -> str:
    return f"{file}: {blank:,} blank line{' is no row and was' if blank == 1 else 's are no rows and were'} skipped."


def _separator(text: str, is_tsv: bool) -> tuple[str, str]:
    """(what separates the cells, the text without a first line that says so, as Excel reads and writes it)."""
    if declared := re.match(r'"?sep=([^\r\n])"?[ \t,;]*(?:\r\n|\r|\n|$)', text, re.IGNORECASE):
        return declared[1], text[declared.end() :]
    if is_tsv:
        return "\t", text
    # Excel writes semicolons where the decimal mark is a comma. Of the separators under which a row has the cells of
    # the header, the one that does so in most rows, then the one with most columns.
    best, choice = (0.0, 1), ","
    for separator in ",;\t":
        reader = csv.reader(_lines(text), delimiter=separator)
        header, *rows = list(islice(filter(any, reader), SAMPLE)) or [[]]
        if len(header) > 1:
            share = sum(len(row) == len(header) for row in rows) / max(1, len(rows))
            if (share, len(header)) > best:
                best, choice = (share, len(header)), separator
    return choice, text


def _column_names(where: str, header: list[str], file: Path) -> list[str]:
    """Names of the columns, those without one numbered; raises UserError when two are the same."""
    if not header:
        raise UserError(f"{file} is empty: give a file with a header and at least one row.")
    names = list(map(cleaned_name, header))
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise UserError(f"{where}: two columns are called {quoted(name)}; rename one.")
    return [name or f"column {i}" for i, name in enumerate(names, 1)]


def _lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends; `str.splitlines` would also split it at U+2028."""
    return (match[0] for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text))


def _delimited_rows(file: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row; raises UserError naming the line where a quotation is not closed."""
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    line = 1
    try:
        for number, row in enumerate(reader, 1):
            yield number, row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = f"{file}, line {line}: a quotation mark is not closed where the cell ends ({error})"
        raise UserError(f"{problem}; close it, and double the quotation marks inside a text.") from error


# --- other formats ---


def _read_json_lines(file: Path) -> pd.DataFrame:
    rows: dict[int, dict] = {}
    names: dict[str, str] = {}  # a key as written → as cleaned
    text, remarks = _decoded(file)
    number, blank = 0, 0

    def fields(pairs: list[tuple[str, Any]]) -> dict:
        row = dict(pairs)
        if len(row) < len(pairs):
            twice = quoted(Counter(key for key, _ in pairs).most_common(1)[0][0])
            raise UserError(f"{file}, line {number}: the field {twice} stands twice; rename or delete one.")
        return row

    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if not line.strip():
            blank += 1
            continue
        try:
            row = json.loads(line, object_pairs_hook=fields)
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            problem = f"{file}, line {number}: not valid JSON ({str(error).splitlines()[0]})"
            raise UserError(f"{problem}; correct or delete that line.") from error
        if not isinstance(row, dict):
            raise UserError(f'{file}, line {number}: a JSON object is expected, like {{"text": "…"}}.')
        for key in row:
            names.setdefault(key, cleaned_name(key))
        rows[number] = {names[key]: value for key, value in row.items()}
        if len(rows[number]) < len(row):
            raise UserError(f"{file}, line {number}: two fields have one name ({listed(row)}); rename one.")
    # None where a row lacks a field: beside NaN, a whole number is written as a decimal, without its last digits.
    columns = list(dict.fromkeys(names.values()))
    cells = [[row.get(column) for column in columns] for row in rows.values()]
    table = pd.DataFrame(cells, columns=columns, index=list(rows), dtype=object)
    add_remark(table, *remarks, *([_blank_remark(file, blank)] if blank else []))
    return table


def _read_parquet(file: Path) -> pd.DataFrame:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as content:
            table = _from_arrow(content.read())
    except Exception as error:  # pyarrow's errors are of many kinds, an OSError for a damaged file among them
        if isinstance(error, OSError) and error.errno:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} is not a Parquet file that can be read ({reason}): write it again.") from error
    return _numbered(table, str(file))


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    """The table in Python's types, None for a gap: as decimals, whole numbers beside a gap lose their last digits."""
    whole = table.to_pandas(integer_object_nulls=True).astype(object)  # which finds texts that are not UTF-8
    return whole.where(whole.notna(), None)


def _read_workbook(file: Path) -> pd.DataFrame:
    """The first sheet of an Excel file, its first row that is not empty as the header."""
    try:
        import openpyxl
    except ImportError as error:
        remedy = 'pip install "ambo-notebooks[excel]", or save the file as CSV'
        raise UserError(f"{file}: an Excel file is read by openpyxl, which is not installed: {remedy}.") from error
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet, names = book.worksheets[0], book.sheetnames
        rows = [[_workbook_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # of a damaged file: errors of zip, XML and many others
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} is not an .xlsx file that can be read ({reason}): save it again.") from error
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell != "" for cell in row)]
    first, header = filled[0] if filled else (1, [])
    while header and header[-1] == "":  # cells that once were formatted
        header.pop()
    columns = _column_names(f"{file}, row {first}", list(map(str, header)), file)
    for number, row in filled[1:]:
        if any(cell != "" for cell in row[len(columns) :]):
            counts = f"it has cells to the right of the last column that the header names ({quoted(columns[-1])})"
            raise UserError(f"{file}, row {number}: {counts}; name the column, or empty them.")
    rows = [(number, row[: len(columns)] + [""] * (len(columns) - len(row))) for number, row in filled[1:]]
    blank = filled[-1][0] - first - len(rows) if rows else 0
    table = _table_below(file, header, columns, rows, blank, [])
    if len(names) > 1:
        add_remark(table, f"{file}: the first of its {len(names)} sheets was read ({quoted(names[0])}).")
    return table


def _workbook_text(cell: object) -> object:
    """A cell with '' for an empty one and for an error such as #N/A."""
    return "" if cell is None or (isinstance(cell, str) and cell in ("#N/A", "#NULL!", "#VALUE!", "#REF!")) else cell


def _read_folder(folder: Path, text_column: str) -> pd.DataFrame:
    """One row for every .txt file in the folder or below it, but those that a system hides there."""
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".txt" and path.is_file())
    except OSError as error:  # a folder in it that goes away meanwhile
        raise UserError(f"{folder} cannot be read ({error}): give a folder of .txt files alone.") from error
    files = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    if not files:
        raise UserError(f"{folder} has no .txt files: put one text in each, or give a table.")
    rows, remarks = [], []
    for file in files:
        text, more = _decoded(file)
        remarks += more
        rows.append({text_column: text, "file": clean(file.relative_to(folder).as_posix())})
    if hidden := [path.relative_to(folder).as_posix() for path in paths if path not in set(files)]:
        remarks.append(f"{folder}: {len(hidden)} hidden files left out ({listed(hidden, 3)}).")
    table = _numbered(pd.DataFrame(rows), str(folder))
    add_remark(table, *remarks)
    return table


def _is_hidden(path: Path) -> bool:
    """Whether a path in a folder is no text of the user, such as what macOS puts beside every file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _read_dataset(path: str) -> pd.DataFrame:
    """Rows of a hub data set, `hf:owner/name` or `hf:owner/name:split`."""
    import datasets

    name, _, split = path.removeprefix("hf:").partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train")
        return _numbered(_from_arrow(rows.with_format("arrow")[:]), path)
    except UserError:
        raise
    except Exception as error:  # the library raises many kinds: offline, unknown id, gated
        reason = without_secrets((str(error).splitlines() or [type(error).__name__])[0][:10_000])
        problem = f"data_path {path!r}: data set not reachable ({reason})"
        remedy = "check the name and the connection, or download it and give the file"
        raise UserError(f"{problem}; {remedy}.") from error


def _numbered(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table with its rows numbered from 1, its named indices as columns."""
    if any(name is not None and name not in table.columns for name in table.index.names):
        table = table.reset_index()
    return _renamed(table.set_axis(range(1, len(table) + 1)), where)


def _renamed(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table with cleaned names of columns; raises UserError when two are the same."""
    if not len(table.columns):
        return table
    return table.set_axis(_column_names(where, list(map(str, table.columns)), Path(where)), axis=1)
