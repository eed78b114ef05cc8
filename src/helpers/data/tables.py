"""A user's table of texts: read from a file, a folder or the hub, checked, and turned into records.

A mistake in the table is one UserError that names the file, the row and the remedy. The index of a table is the
row's number as the user counts: in CSV and TSV the header is row 1, in JSONL it is the line.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers import env
from helpers.data import embedded
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.files import replacing
from helpers.text import clean, guarded

RESERVED = ("id", "text", "label", "target", "references", "split", "spans", "parent_id")  # fields of a record


# --- files ---


def read_table(path: str, text_column: str, sample: int = 0, seed: int = 0) -> pd.DataFrame:
    """Read a table of texts; raises UserError naming the file and, where there is one, the row at fault.

    Parameters
    ----------
    path : str
        A CSV, TSV, JSONL or Parquet file, a folder of .txt files, an embedded set, or `hf:owner/name`.
    text_column : str
        Column with the texts; for a folder, the name that this column gets.
    sample, seed : int
        Number of generated rows and their random seed, for the embedded job ads only.
    """
    if path.startswith(embedded.PREFIX):
        return embedded.read_embedded(path, sample, seed)
    if not path:
        raise UserError("Parameter data_path is empty: give a file or folder of texts, as in -p data_path my.csv.")
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
        columns = ", ".join(map(str, table.columns))
        raise UserError(f"{path} has no column {text_column!r}: set text_column to one of {columns}.")
    if table.empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return table


def source_path(path: str) -> Path | None:
    """The file or folder behind `data_path`; None for the embedded sets and for hub data."""
    file = None if path.startswith(embedded.PREFIX) else env.resolve(path)
    return file if file and file.exists() else None


def _read_file(file: Path) -> pd.DataFrame:
    readers = {".csv": _read_delimited, ".tsv": _read_delimited, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    suffix = file.suffix.lower()
    if suffix not in readers:
        remedy = "give a .csv, .tsv, .jsonl or .parquet file, or a folder of .txt files"
        raise UserError(f"{file} ends in {suffix!r}: {remedy}.")
    try:
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty: give a file with a header and at least one row.")
        return readers[suffix](file)
    except OSError as error:
        raise UserError(f"{file} could not be read ({error.strerror or error}): check the file.") from error


def _decoded(file: Path) -> str:
    """The file's text without a byte order mark; raises UserError naming the first line that is not UTF-8."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        bad_byte = 0 if text.count("\0") > len(text) / 3 else None  # UTF-16 without a mark decodes to many zeros
    except UnicodeDecodeError as error:
        bad_byte = error.start
    if bad_byte is not None:
        line = content[:bad_byte].count(b"\n") + 1
        remedy = "save the file as UTF-8 (in Excel: “CSV UTF-8”) and try again"
        raise UserError(f"{file}, line {line}: not UTF-8; {remedy}.")
    return text


def _read_delimited(file: Path) -> pd.DataFrame:
    text = _decoded(file)
    # A tab-separated corpus has bare quotes in its texts, while a CSV file quotes its cells.
    # Excel writes semicolons where the decimal mark is a comma.
    is_tsv = file.suffix.lower() == ".tsv"
    header = text.lstrip("\r\n").partition("\n")[0]
    separator = "\t" if is_tsv else max(",;\t", key=header.count)
    rows = _delimited_rows(file, text, separator, csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL)
    columns = _column_names(file, next(rows, []))
    numbers, cells = [], []
    for number, row in enumerate(rows, 2):
        if is_tsv:  # its rows may end early
            row += [""] * (len(columns) - len(row))
        if len(row) != len(columns) and any(map(str.strip, row)):
            remedy = "put quotes around a text with a separator or a line break"
            if is_tsv:
                remedy = "take the tab out of the text"
            counts = f"the number of cells is {len(row)}, but in the header {len(columns)}"
            raise UserError(f"{file}, row {number}: {counts}; {remedy}.")
        if any(row):
            numbers.append(number)
            cells.append(row)
    return pd.DataFrame(cells, columns=columns, index=numbers)


def _column_names(file: Path, header: list[str]) -> list[str]:
    """Names of the columns, those without one numbered; raises UserError when two are the same."""
    if not header:
        raise UserError(f"{file} is empty: give a file with a header and at least one row.")
    names = [name.strip() for name in header]
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise UserError(f"{file}, row 1: two columns are called {name!r}; rename one.")
    return [name or f"column {i}" for i, name in enumerate(names, 1)]


def _delimited_rows(file: Path, text: str, separator: str, quoting: int) -> Iterator[list[str]]:
    """Cells of each row; raises UserError naming the line where a quotation is not closed."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a C long, which has 32 bits on Windows
    # Only \r and \n end a row; str.splitlines would also split a text at U+2028.
    lines = re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
    reader, line = csv.reader((m[0] for m in lines), delimiter=separator, quoting=quoting, strict=True), 1
    try:
        for row in reader:
            yield row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = f"{file}, line {line}: a quotation mark is not closed where the cell ends ({error})"
        raise UserError(f"{problem}; close it, and double the quotation marks inside a text.") from error


def _read_json_lines(file: Path) -> pd.DataFrame:
    rows = {}
    for number, line in enumerate(_decoded(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: not valid JSON ({error}); correct or delete that line.") from error
        if not isinstance(row, dict):
            raise UserError(f'{file}, line {number}: a JSON object is expected, like {{"text": "…"}}.')
        rows[number] = row
    return pd.DataFrame(list(rows.values()), index=list(rows), dtype=object)


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        return _numbered(pd.read_parquet(file))
    except ValueError as error:  # pyarrow's errors are subclasses
        raise UserError(f"{file} is not a Parquet file ({str(error).splitlines()[0]}): write it again.") from error


def _read_folder(folder: Path, text_column: str) -> pd.DataFrame:
    """One row for every .txt file in the folder or below it."""
    files = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not files:
        raise UserError(f"{folder} has no .txt files: put one text in each, or give a table.")
    rows = ({text_column: _decoded(file), "file": file.relative_to(folder).as_posix()} for file in files)
    return _numbered(pd.DataFrame(rows))


def _read_dataset(path: str) -> pd.DataFrame:
    """Rows of a hub data set, `hf:owner/name` or `hf:owner/name:split`."""
    import datasets

    name, _, split = path.removeprefix("hf:").partition(":")
    try:
        return _numbered(datasets.load_dataset(name, split=split or "train").to_pandas())
    except Exception as error:  # the library raises many kinds: offline, unknown id, gated
        problem = f"data_path {path!r}: data set not reachable ({str(error).splitlines()[0]})"
        remedy = "check the name and the connection, or download it and give the file"
        raise UserError(f"{problem}; {remedy}.") from error


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its rows numbered from 1."""
    return table.set_axis(range(1, len(table) + 1))


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a CSV file, with an apostrophe before every text that a spreadsheet would run as a formula."""
    return table.map(guarded).rename(columns=guarded)


def _write_delimited(separator: str) -> Callable[[pd.DataFrame, Path], None]:
    return lambda table, path: spreadsheet_safe(table).to_csv(path, index=False, sep=separator, lineterminator="\n")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": _write_delimited(","),
    ".tsv": _write_delimited("\t"),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True, force_ascii=False),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as the path's suffix says, one of WRITERS, whole or not at all."""
    with replacing(path) as temporary:
        WRITERS[path.suffix.lower()](table, temporary)
    return path


# --- records ---


def to_records(table: pd.DataFrame, params: dict[str, Any]) -> list[dict]:
    """Make records of a table; rows without a text are left out.

    Of `params` it uses task, data_path, text_column, label_column ('' for none), labels ([] accepts any),
    target_columns (all that are filled become references), group_columns, id_column (''), split_column (''), test_split
    and validation_split. Raises UserError on a missing column, a label that the task does not have, fewer than two
    classes, or a repeated id.
    """
    _check_columns(table, params)
    path, split_column = params["data_path"], params["split_column"]
    if params["id_column"]:
        _check_ids(table[params["id_column"]].map(cell_text), path)
    rows = zip(table.index, table.to_dict("records"), strict=True)
    records = [record for number, row in rows if (record := _record(row, f"{path}, row {number}", params))]
    if not records:
        raise UserError(f"{path}: column {params['text_column']!r} holds no text at all.")
    if split_column and not any(r["split"].startswith("test") for r in records):
        values = list(map(repr, table[split_column].map(cell_text).value_counts().index))
        if len(values) > 10:
            values[10:] = ["…"]
        remedy = f"set test_split to one of {', '.join(values)}, or split_column to ''"
        raise UserError(f"{path}: column {split_column!r} names no test row: {remedy}.")
    if params["label_column"]:
        _check_classes(records, params)
    return records


def _record(row: dict[str, Any], where: str, params: dict[str, Any]) -> dict | None:
    """The record of one row, None without a text; `where` names the row in an error."""
    text = clean(cell_text(row[params["text_column"]], f"{where}: the text"))
    if not text:
        return None
    record = {"id": record_id(params["task"], text), "text": text}
    if params["label_column"] and (label := cell_text(row[params["label_column"]], f"{where}: the label").strip()):
        record["label"] = label
        if params["labels"] and label not in params["labels"]:
            problem = f"{where}: label {label!r} is not one of {', '.join(params['labels'])}"
            raise UserError(f"{problem}; correct the row, or the parameter labels.")
    targets = [clean(cell_text(row[column])) for column in params.get("target_columns", [])]
    if references := list(dict.fromkeys(filter(None, targets))):
        record |= {"target": references[0], "references": references}
    record |= {column: cell_text(row[column]) for column in params["group_columns"]}
    record |= {k: row[k] for k in ("source", "spans", "parent_id") if isinstance(row.get(k), str | list)}
    record["split"] = _split_name(cell_text(row[params["split_column"]]), params) if params["split_column"] else ""
    record.setdefault("source", "pool")
    return record


def _split_name(value: str, params: dict[str, Any]) -> str:
    """The split that a value of the data's split column means; rows of no evaluation set belong to the pool."""
    if value and value == params["test_split"]:
        return "test"
    if value and value == params["validation_split"]:
        return "validation"
    return value if value.startswith("test_") else "pool"


def _check_columns(table: pd.DataFrame, params: dict[str, Any]) -> None:
    roles = {role: [params[role]] for role in ("text_column", "label_column", "split_column", "id_column")}
    roles |= {"target_columns": params.get("target_columns", []), "group_columns": params["group_columns"]}
    for role, names in roles.items():
        for name in filter(None, names):
            if name not in table.columns:
                columns = ", ".join(map(str, table.columns))
                place = f"{params['data_path']}: column {name!r} is missing (parameter {role})"
                raise UserError(f"{place}; the table has {columns}.")
    for name in params["group_columns"]:
        if name in RESERVED:
            problem = f"{name!r} is the name of a field that every record has"
            raise UserError(f"Parameter group_columns: {problem}; rename that column.")
    text = params["text_column"]
    if text in [params["label_column"], *roles["target_columns"]]:
        remedy = "correct text_column, or the column of the answer"
        raise UserError(f"Column {text!r} is both the text and the answer: {remedy}.")


def _check_ids(ids: pd.Series, path: str) -> None:
    repeated = ids[ids.duplicated()]
    if len(repeated):
        value, second = repeated.iloc[0], repeated.index[0]
        first = ids[ids == value].index[0]
        problem = f"id {value!r} already stands in row {first}"
        raise UserError(f"{path}, row {second}: {problem}; ids must be unique, or set id_column to ''.")


def _check_classes(records: list[dict], params: dict[str, Any]) -> None:
    classes = {r["label"] for r in records if "label" in r}
    if len(classes) < 2:
        content = f"only the class {classes.pop()!r}" if classes else "no label at all"
        problem = f"{params['data_path']}: column {params['label_column']!r} holds {content}"
        remedy = "for texts without labels set label_column to '' and labeller to human"
        raise UserError(f"{problem}; a detector needs examples of at least two classes ({remedy}).")


def cell_text(value: Any, where: str = "") -> str:
    """The text of a cell: '' for a missing one, 3 for 3.0, true and false in small letters; `where` names it in an error."""
    if isinstance(value, dict | list | np.ndarray):
        raise UserError(f"{where or 'A cell'} is a {type(value).__name__}, not a text: flatten it to one value a cell.")
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):  # as JSON and YAML write it
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with gaps is read as decimals
        return str(int(value))
    return str(value)
