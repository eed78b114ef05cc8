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

import pandas as pd

from helpers import env
from helpers.data import embedded
from helpers.env import UserError
from helpers.text import clean, quoted
from helpers.text import name as cleaned_name

SAMPLE = 100  # rows from which the separator is guessed
MOST_NAMES = 20  # names that a sentence lists


def read_table(path: str, text_column: str, sample: int = 0, seed: int = 0) -> pd.DataFrame:
    """Read a table of texts; raises UserError naming the file and, where there is one, the row at fault.

    Parameters
    ----------
    path : str
        A CSV, TSV, JSONL, Parquet or .xlsx file, a folder of .txt files, an embedded set, or `hf:owner/name`.
    text_column : str
        Column with the texts; for a folder, the name that this column gets.
    sample, seed : int
        Number of generated rows and their random seed, for the embedded job ads only.
    """
    if path.startswith(embedded.PREFIX):
        return embedded.read_embedded(path, sample, seed)
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
    if text_column not in table.columns:
        problem = f"{path} has no column {text_column!r}: set text_column to one of {listed(table.columns)}"
        if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            problem += ". If row 1 is no header, write the names of the columns above it"
        raise UserError(f"{problem}.")
    if table.empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return table


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
    """(text without a byte order mark, remarks); raises UserError naming the first line that cannot be read."""
    content = file.read_bytes()
    encoding = _utf16(content) or "utf-8-sig"
    try:
        return content.decode(encoding).removeprefix("\ufeff"), []
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
    remedy = "save the file as UTF-8 (in Excel: “CSV UTF-8”)"
    if encoding == "utf-8-sig":
        try:
            guess = f"{file}, line {line}: not UTF-8, so the file was read as Windows-1252"
            return content.decode("cp1252"), [f"{guess}; if letters look wrong, {remedy} and try again."]
        except UnicodeDecodeError:
            encoding = "UTF-8 nor Windows-1252"
    raise UserError(f"{file}, line {line}: not {encoding}; {remedy} and try again.")


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
    # A tab-separated corpus has bare quotes in its texts, while a CSV file quotes its cells.
    is_bare = is_tsv and not _has_quoted_cells(text, separator)
    rows = _delimited_rows(file, text, separator, csv.QUOTE_NONE if is_bare else csv.QUOTE_MINIMAL)
    first, header = next(((number, row) for number, row in rows if any(row)), (1, []))
    columns = _column_names(f"{file}, row {first}", header, file)
    numbers, cells, repeated = [], [], []
    for number, row in rows:
        if is_bare:  # its rows may end early
            row += [""] * (len(columns) - len(row))
        if len(row) != len(columns) and any(map(str.strip, row)):
            remedy = "put quotes around a text with a separator or a line break"
            if is_bare:
                remedy = "take the tab out of the text"
            counts = f"the number of cells is {len(row)}, but in the header {len(columns)}"
            raise UserError(f"{file}, row {number}: {counts}; {remedy}.")
        if row == header:
            repeated.append(number)
        elif any(row):
            numbers.append(number)
            cells.append(row)
    if repeated:
        where = f"row {listed(repeated)}"
        remarks.append(f"{file}, {where}: the header again, as where files were joined; left out.")
    table = pd.DataFrame(cells, columns=columns, index=numbers)
    add_remark(table, *remarks)
    return table


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


def _has_quoted_cells(text: str, separator: str) -> bool:
    """Whether quotation marks enclose cells, and are no part of the texts: only so do the rows fit the header."""
    if '"' not in text:
        return False
    try:
        quoted = [*filter(any, csv.reader(_lines(text), delimiter=separator, strict=True))]
    except csv.Error:
        return False
    if len(set(map(len, quoted))) != 1:
        return False
    bare = [*filter(any, csv.reader(_lines(text), delimiter=separator, quoting=csv.QUOTE_NONE))]
    if len(set(map(len, bare))) != 1:
        return True
    is_doubled = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"').fullmatch
    return any(is_doubled(cell) for row in bare for cell in row)


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


def _delimited_rows(file: Path, text: str, separator: str, quoting: int) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row; raises UserError naming the line where a quotation is not closed."""
    reader = csv.reader(_lines(text), delimiter=separator, quoting=quoting, strict=True)
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
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = f"{file}, line {number}: not valid JSON ({str(error).splitlines()[0]})"
            raise UserError(f"{problem}; correct or delete that line.") from error
        if not isinstance(row, dict):
            raise UserError(f'{file}, line {number}: a JSON object is expected, like {{"text": "…"}}.')
        for key in row.keys() - names.keys():
            names[key] = cleaned_name(key)
        rows[number] = {names[key]: value for key, value in row.items()}
        if len(rows[number]) < len(row):
            raise UserError(f"{file}, line {number}: two fields have one name ({listed(row)}); rename one.")
    table = pd.DataFrame(list(rows.values()), index=list(rows), dtype=object)
    add_remark(table, *remarks)
    return table


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(file).astype(object)  # which finds texts that are not UTF-8
    except Exception as error:  # pyarrow's errors are of many kinds, an OSError for a damaged file among them
        if isinstance(error, OSError) and error.errno:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} is not a Parquet file that can be read ({reason}): write it again.") from error
    return _numbered(table, str(file))


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
    cells = [row[: len(columns)] + [""] * (len(columns) - len(row)) for _, row in filled[1:]]
    table = pd.DataFrame(cells, columns=columns, index=[number for number, _ in filled[1:]], dtype=object)
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
        return _numbered(datasets.load_dataset(name, split=split or "train").to_pandas(), path)
    except UserError:
        raise
    except Exception as error:  # the library raises many kinds: offline, unknown id, gated
        problem = f"data_path {path!r}: data set not reachable ({str(error).splitlines()[0]})"
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
