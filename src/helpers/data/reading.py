"""A user's table, read from a file, a folder or the hub; `tables` makes records of it.

A mistake in it is one UserError that names the file, the row and the remedy. The index of a table is the row's number
as a spreadsheet shows it: the header of a CSV or TSV file is row 1; in JSONL it is the line. What was guessed, merged
or left out on the way is a list of sentences in `table.attrs["remarks"]`.

A file is read in batches, in constant memory: what only the whole of it can say, such as its encoding, is found in a
pass of its own. An .xlsx file, a data set of the hub and an embedded one are held whole.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from helpers import env
from helpers.data import embedded, tabbed
from helpers.env import UserError
from helpers.files import open_regular
from helpers.italian.addressees import WORKPLACE
from helpers.masking import without_secrets
from helpers.text import clean, quoted
from helpers.text import name as cleaned_name

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 100  # rows from which the separator is guessed
MOST_NAMES = 20  # names that a sentence lists
BATCH, CHARACTERS = 1024, 1_000_000  # a batch ends with the row that reaches one of them
DECODED = 16  # rows of a Parquet file that are decoded at once: a value that it holds once can be that of every row
MOST_FIELDS = 1000  # of all objects of a .jsonl together: every row gets a cell for each
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
            if _digest(self.files) != self.content:
                raise changed(self.where)
        except (OSError, UnicodeError) as error:  # that of a file that has changed since its encoding was found
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.where} could not be read ({reason}): check the file.") from error


def changed(where: str) -> UserError:
    """What to say of a file that is not what it was when it was opened."""
    return UserError(f"{where} has changed while it was read: give the command again when nothing writes there.")


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


def open_table(path: str, text_column: str) -> Source:
    """What `read_table` reads, to be read in batches; the mistakes in its rows are found there."""
    if not path:
        example = "give a file or folder of texts, as in -p data_path my.csv"
        raise UserError(f"Parameter data_path is empty: {example}.")
    file = env.resolve(path)
    if path.startswith(embedded.PREFIX):
        source = _held(path, embedded.read_embedded(path))
    elif file.exists():
        source = _open_file(file, text_column)
    elif path.startswith("hf:"):
        source = _held(path, _read_dataset(path))
    else:
        problem = f"data_path {path!r} is not a file or folder (looked for {file})"
        raise UserError(f"{problem}: check the path; a hub data set is written hf:owner/name.")
    if column_name(source, text_column) not in source.columns:
        problem = f"{path} has no column {text_column!r}: set text_column to one of {listed(source.columns)}"
        if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            problem += ". If row 1 is no header, write the names of the columns above it"
        raise UserError(f"{problem}.")
    if next(source.batches()).empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return source


def open_lines(lines: Callable[[], Iterable[str]], text_column: str) -> Source:
    """Lines, which end in `\\n`, as a table of one column."""

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        return _framed([text_column], ((n, [line.removesuffix("\n")]) for n, line in enumerate(lines(), 1)))

    return Source("Standard input", [text_column], frames)


def column_name(table: pd.DataFrame | Source, name: str) -> str:
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


def _open_file(file: Path, text_column: str) -> Source:
    """A file or folder as a source."""
    readers = {".csv": _open_delimited, ".tsv": _open_delimited}
    readers |= {".jsonl": _open_json_lines, ".parquet": _open_parquet, ".xlsx": _open_workbook}
    suffix = file.suffix.lower()
    if suffix not in readers and not file.is_dir():
        remedy = "give a .csv, .tsv, .jsonl, .parquet or .xlsx file, or a folder of .txt files"
        raise UserError(f"{file} ends in {suffix!r}: {remedy}.")
    try:
        if file.is_dir():
            return _open_folder(file, text_column)
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty: give a file with a header and at least one row.")
        content = _digest((file,))  # before anything is read
        return replace(readers[suffix](file), files=(file,), content=content)
    except OSError as error:
        raise UserError(f"{file} could not be read ({error.strerror or error}): check the file.") from error


def _digest(files: tuple[Path, ...]) -> str:
    """sha256 over the contents of files; '' without one."""
    whole = hashlib.sha256()
    for file in files:
        with open(file, "rb", opener=open_regular) as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest() if files else ""


def _held(where: str, table: pd.DataFrame) -> Source:
    """A table in memory as a source."""

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += table.attrs.get("remarks", [])
        return _sliced(table)

    return Source(where, list(table.columns), frames)


def _framed(columns: list[str], rows: Rows) -> Iterator[pd.DataFrame]:
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


def _sliced(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A table in parts, as `Source.batches` describes them, each column in its type."""
    start = 0
    for part in _framed(list(table.columns), zip(table.index, table.itertuples(index=False, name=None), strict=True)):
        yield table.iloc[start : start + len(part)]
        start += len(part)


class _Places:
    """The numbers of rows of which a sentence lists the first ones."""

    def __init__(self):
        self.first, self.count = [], 0

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) <= MOST_NAMES:
            self.first.append(number)


# --- text in bytes ---


def _decoded(file: Path, newline: str = "") -> tuple[Callable[[], Iterator[str]], list[str]]:
    """(function that yields the lines with their ends, without byte order marks; remarks).

    `newline` is as for `open`. Raises UserError naming the first line that cannot be read.
    """
    with open(file, "rb", opener=open_regular) as stream:
        encoding, errors = _utf16(stream.read(10_000)) or "utf-8", "strict"
    remedy = "save the file as UTF-8 (in Excel: “CSV UTF-8”)"
    remarks: list[str] = []
    if encoding != "utf-8":
        if line := _bad_line(file, encoding):
            raise UserError(f"{file}, line {line}: not {encoding}; {remedy} and try again.")
    elif bad := _bad_bytes(file, newline):
        lines, is_mostly_utf8 = bad
        line = lines.first[0]
        if is_mostly_utf8:
            errors = MENDED
            guess = f"line {listed(lines.first, 10)}: bytes that are not UTF-8, as all others are, were read as Windows-1252"
        else:
            encoding = "cp1252"
            guess = f"line {line}: not UTF-8, so the file was read as Windows-1252"
            if _bad_line(file, encoding):
                problem = f"{file}, line {line}: not UTF-8 nor Windows-1252"
                raise UserError(f"{problem}; {remedy} and try again.")
        remarks = [f"{file}, {guess}; if letters look wrong, {remedy} and try again."]

    def read() -> Iterator[str]:
        with open(file, encoding=encoding, errors=errors, newline=newline, opener=open_regular) as stream:
            for line in stream:
                yield line.removeprefix("\ufeff")  # every one of the files that were joined may have one

    return read, remarks


def _bad_line(file: Path, encoding: str) -> int:
    """The first line that is not in the encoding; 0 for none."""
    decoder, number = codecs.getincrementaldecoder(encoding)(), 0
    try:
        with open(file, "rb", opener=open_regular) as stream:
            for line in stream:
                number += 1
                decoder.decode(line)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return number
    return 0


BAD = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as `surrogateescape` reads it


def _bad_bytes(file: Path, newline: str) -> tuple[_Places, bool] | None:
    """(lines with bytes that are not UTF-8, whether the file is UTF-8 for the most part); None where all of it is."""
    lines, bad, others, is_marked = _Places(), 0, 0, False
    with open(file, encoding="utf-8", errors="surrogateescape", newline=newline, opener=open_regular) as stream:
        for number, line in enumerate(stream, 1):
            if not line.isascii():
                is_marked = is_marked or (number == 1 and line.startswith("\ufeff"))
                count = len(BAD.findall(line))
                bad, others = bad + count, others + len(re.findall("[^\x00-\x7f]", line))
                if count:
                    lines.add(number)
    return (lines, is_marked or 2 * bad < others) if bad else None


def _mend(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are not UTF-8: a letter of Windows-1252, or a sign for one of which the end is missing."""
    if cut := re.compile(rb"[\xe0-\xf4][\x80-\xbf]{1,2}").match(error.object, error.start):
        return "\ufffd", cut.end()
    return error.object[error.start : error.start + 1].decode("cp1252", "replace"), error.start + 1


MENDED = "helpers.mended"
codecs.register_error(MENDED, _mend)


def _utf16(content: bytes) -> str:
    """The encoding if it is UTF-16, by its mark or by zeros at every other place; '' otherwise."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    high, low = content[::2], content[1::2]
    if low.count(0) > 2 * len(low) / 3 and not high.count(0):
        return "utf-16-le"
    return "utf-16-be" if high.count(0) > 2 * len(high) / 3 and not low.count(0) else ""


# --- CSV and TSV ---


def _open_delimited(file: Path) -> Source:
    lines, notes = _decoded(file)
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
        return header, _column_names(f"{file}, row {first}", header, file)

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += notes
        rows = numbered(remarks)
        header, columns = headed(rows)
        sound = _sound_rows(file, rows, len(columns), is_tsv, remarks)
        return _framed(columns, _below(file, header, sound, remarks))

    return Source(str(file), headed(numbered([]))[1], frames)


def _sound_rows(file: Path, rows: Rows, width: int, is_tsv: bool, remarks: list[str]) -> Rows:
    """The rows that have as many cells as the header; raises UserError at one that has not."""
    blank, short = 0, _Places()
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
        remarks.append(_blank_remark(file, blank))


def _below(file: Path, header: list, rows: Rows, remarks: list[str]) -> Rows:
    """The rows without those that are the header again, as where files were joined.

    Below a header in another order the cells are put in the order of the first one.
    """
    names = [_look(name, len(header)) for name in header]
    order, repeated, moved = names, _Places(), _Places()
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


def _blank_remark(file: Path, blank: int) -> str:
    return f"{file}: {blank:,} blank line{' is no row and was' if blank == 1 else 's are no rows and were'} skipped."


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


def _column_names(where: str, header: list[str], file: Path) -> list[str]:
    """Names of the columns, those without one numbered; raises UserError when two are the same."""
    if not header:
        raise UserError(f"{file} is empty: give a file with a header and at least one row.")
    names = list(map(cleaned_name, header))
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise UserError(f"{where}: two columns are called {quoted(name)}; rename one.")
    return [name or f"column {i}" for i, name in enumerate(names, 1)]


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


# --- other formats ---


def _open_json_lines(file: Path) -> Source:
    lines, notes = _decoded(file, "\n")
    names: dict[str, str] = {}  # a key as written → as cleaned
    for _ in _json_rows(file, lines(), names, []):  # the last row may have a column of its own
        pass
    columns = list(dict.fromkeys(names.values()))

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        remarks += notes
        rows = _json_rows(file, lines(), names, remarks)
        # None where a row lacks a field: beside NaN, a whole number is written as a decimal, without its last digits.
        return _framed(columns, ((number, cells(row)) for number, row in rows))

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
        remarks.append(_blank_remark(file, blank))


def _open_parquet(file: Path) -> Source:
    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        import pyarrow.parquet

        start = 0
        try:
            # Row groups of a million rows are usual: page by page, not the whole of one.
            with (
                open(file, "rb", opener=open_regular) as stream,
                pyarrow.parquet.ParquetFile(stream, buffer_size=2**20, pre_buffer=False) as content,
            ):
                for part in _gathered(content.iter_batches(min(DECODED, BATCH)), content.schema_arrow.empty_table()):
                    table = _with_index(part, start)
                    whole = table.to_pandas(types_mapper=pd.ArrowDtype) if exact else _from_arrow(table)
                    whole = _numbered(whole, str(file), start)
                    start += len(whole)
                    yield from _sliced(whole) if part.nbytes > CHARACTERS else [whole]
        except UserError:
            raise
        except Exception as error:  # pyarrow's errors are of many kinds, an OSError for a damaged file among them
            if isinstance(error, OSError) and error.errno:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"{file} is not a Parquet file that can be read ({reason}): write it again.") from error

    return Source(str(file), list(next(frames([], False)).columns), frames)


def _gathered(batches: Iterable[pa.RecordBatch], none: pa.Table) -> Iterator[pa.Table]:
    """The batches in tables of at most BATCH rows, of which the last one reaches CHARACTERS bytes; `none` without any."""
    import pyarrow as pa

    part, rows, size, count = [], 0, 0, 0
    for batch in batches:
        if part and (rows + len(batch) > BATCH or size >= CHARACTERS):
            yield pa.Table.from_batches(part)
            part, rows, size = [], 0, 0
        part.append(batch)
        rows, size, count = rows + len(batch), size + batch.nbytes, count + 1
    yield pa.Table.from_batches(part) if count else none


def _with_index(table: pa.Table, start: int) -> pa.Table:
    """Rows from `start` on of a table that pandas may have written, the index first where it has a name.

    pandas itself would lose the numbers of a range in a part of the table.
    """
    levels = (table.schema.pandas_metadata or {}).get("index_columns", [])
    table = table.replace_schema_metadata(None)
    if levels and isinstance(levels[0], dict):
        (level,) = levels
        if level["name"] is None:
            return table
        first, step = level["start"] + start * level["step"], level["step"]
        return table.add_column(0, level["name"], [[*range(first, first + step * len(table), step)]])
    index = [(re.sub(r"^__index_level_(\d+)__$", r"level_\1", name), table.column(name)) for name in levels]
    table = table.drop_columns(levels)
    if all(name not in levels for name, _ in index):  # none has a name
        return table
    for place, (name, column) in enumerate(index):
        table = table.add_column(place, name, column)
    return table


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    """The table in Python's types, None for a gap: as decimals, whole numbers beside a gap lose their last digits."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if field.type == pa.time64("ns"):  # Python's times have no nanoseconds
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
    whole = table.to_pandas(integer_object_nulls=True).astype(object)  # which finds texts that are not UTF-8
    return whole.where(whole.notna(), None)


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

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        yield from _framed(columns, _below(file, header, iter(rows), remarks))
        if blank:
            remarks.append(_blank_remark(file, blank))
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
    except OSError as error:  # a folder in it that goes away meanwhile
        raise UserError(f"{folder} cannot be read ({error}): give a folder of .txt files alone.") from error
    files = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    if not files:
        raise UserError(f"{folder} has no .txt files: put one text in each, or give a table.")
    hidden = [path.relative_to(folder).as_posix() for path in paths if _is_hidden(path.relative_to(folder))]
    columns = _column_names(str(folder), [text_column, "file"], folder)

    def rows(remarks: list[str]) -> Rows:
        for number, file in enumerate(files, 1):
            lines, notes = _decoded(file)
            remarks += notes
            text = "".join(lines()).rstrip("\r\n")  # the line end of a file is no part of its text
            yield number, [text, clean(file.relative_to(folder).as_posix())]
        if hidden:
            remarks.append(f"{folder}: {len(hidden)} hidden files left out ({listed(hidden, 3)}).")

    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        return _framed(columns, rows(remarks))

    return Source(str(folder), columns, frames, tuple(files), _digest(tuple(files)))


def _is_hidden(path: Path) -> bool:
    """Whether a path in a folder is no text of the user, such as what macOS puts beside every file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _read_dataset(path: str) -> pd.DataFrame:
    """Rows of a hub data set, `hf:owner/name` or `hf:owner/name:split`."""
    import datasets

    name, _, split = path.removeprefix("hf:").partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train")
        return _numbered(_from_arrow(_with_index(rows.with_format("arrow")[:], 0)), path)
    except UserError:
        raise
    except Exception as error:  # the library raises many kinds: offline, unknown id, gated
        reason = without_secrets((str(error).splitlines() or [type(error).__name__])[0][:10_000])
        problem = f"data_path {path!r}: data set not reachable ({reason})"
        remedy = "check the name and the connection, or download it and give the file"
        raise UserError(f"{problem}; {remedy}.") from error


def _numbered(table: pd.DataFrame, where: str, start: int = 0) -> pd.DataFrame:
    """The table with its rows numbered on from `start`, and cleaned names of columns; raises UserError when two are the same."""
    table = table.set_axis(range(start + 1, start + len(table) + 1))
    if not len(table.columns):
        return table
    return table.set_axis(_column_names(where, list(map(str, table.columns)), Path(where)), axis=1)
