"""A user's table of texts: read from a file, a folder or a hub, checked, and turned into records.

Whatever is wrong is one UserError that names the file, the row and the remedy. The index of a table is the row's number as the
user counts: in CSV and TSV the header is row 1, in JSONL it is the line.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers import env
from helpers.data.records import record_id, split_name
from helpers.env import UserError
from helpers.text import clean

RESERVED = ("id", "text", "label", "target", "references", "split", "spans", "parent_id")  # fields of a record


# --- files -----------------------------------------------------------------------------------------------------------


def read_table(path: str, text_column: str, sample: int = 0, seed: int = 0) -> pd.DataFrame:
    """Rows of a CSV, TSV, JSONL or Parquet file, a folder of .txt files, an embedded set, or a `datasets` id.

    `sample` is the number of generated rows, for the embedded job ads only. Raises UserError naming the file and the row.
    """
    if path.startswith("embedded:"):
        from helpers.data import embedded

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
        raise UserError(
            f"data_path {path!r} is not a file or folder (looked for {file}): check the path; "
            f"a hub data set is written hf:owner/name."
        )
    if text_column not in table.columns:
        raise UserError(
            f"{path} has no column {text_column!r}: set text_column to one of {', '.join(map(str, table.columns))}."
        )
    if table.empty:
        raise UserError(f"{path} has no rows: a header alone cannot be learned from.")
    return table


def source_path(path: str) -> Path | None:
    """The file or folder behind `data_path`, None for the embedded sets and for hub data."""
    return env.resolve(path) if not path.startswith("embedded:") and env.resolve(path).exists() else None


def _read_file(file: Path) -> pd.DataFrame:
    kind = file.suffix.lower()
    readers = {".csv": _read_delimited, ".tsv": _read_delimited, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    if kind not in readers:
        raise UserError(
            f"{file} ends in {kind!r}: give a .csv, .tsv, .jsonl or .parquet file, or a folder of .txt files."
        )
    try:
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty: give a file with a header and at least one row.")
        return readers[kind](file)
    except OSError as error:
        raise UserError(f"{file} could not be read ({error.strerror or error}): check the file.") from error


def decoded(file: Path) -> str:
    """The file's text, a byte order mark left out; raises UserError naming the first line that is not UTF-8."""
    content = file.read_bytes()
    try:
        text, bad = content.decode("utf-8-sig"), -1
        if text.count("\0") > len(text) / 3:  # UTF-16 without a mark
            bad = 0
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line = content[:bad].count(b"\n") + 1
        raise UserError(
            f"{file}, line {line}: not UTF-8; save the file as UTF-8 (in Excel: “CSV UTF-8”) and try again."
        )
    return text


def _read_delimited(file: Path) -> pd.DataFrame:
    text = decoded(file)
    header = text.lstrip("\r\n").partition("\n")[0]
    # A tab-separated corpus has bare quotes in its texts; a CSV quotes its cells. Excel writes semicolons where commas are decimal.
    tab = file.suffix.lower() == ".tsv"
    separator = "\t" if tab else max(",;\t", key=header.count)
    rows = _delimited_rows(file, text, separator, csv.QUOTE_NONE if tab else csv.QUOTE_MINIMAL)
    columns = [name.strip() for name in next(rows, [])]
    if not columns:
        raise UserError(f"{file} is empty: give a file with a header and at least one row.")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise UserError(f"{file}, row 1: two columns are called {twice[0]!r}; rename one.")
    columns = [name or f"column {i}" for i, name in enumerate(columns, 1)]
    numbers, cells = [], []
    for number, row in enumerate(rows, 2):
        if tab:  # where rows may end early
            row += [""] * (len(columns) - len(row))
        if len(row) != len(columns) and any(map(str.strip, row)):
            remedy = (
                "take the tab out of the text" if tab else "put quotes around a text with a separator or a line break"
            )
            raise UserError(
                f"{file}, row {number}: the number of cells is {len(row)}, but in the header {len(columns)}; {remedy}."
            )
        if any(row):
            numbers.append(number)
            cells.append(row)
    return pd.DataFrame(cells, columns=columns, index=numbers)


def _delimited_rows(file: Path, text: str, separator: str, quoting: int) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)
    # Only \r and \n end a row; str.splitlines would cut a text at U+2028 too.
    lines = re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
    reader, line = csv.reader((m[0] for m in lines), delimiter=separator, quoting=quoting, strict=True), 1
    try:
        for row in reader:
            yield row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{file}, line {line}: a quotation mark is not closed where the cell ends ({error}); "
            f"mend it, and double those inside a text."
        ) from error


def _read_json_lines(file: Path) -> pd.DataFrame:
    rows = {}
    for number, line in enumerate(decoded(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: not valid JSON ({error}); mend or delete that line.") from error
        if not isinstance(row, dict):
            raise UserError(f'{file}, line {number}: a JSON object is expected, like {{"text": "…"}}.')
        rows[number] = row
    return pd.DataFrame(list(rows.values()), index=list(rows), dtype=object)


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        return _from_one(pd.read_parquet(file))
    except ValueError as error:  # pyarrow's errors are subclasses
        raise UserError(f"{file} is not a Parquet file ({str(error).splitlines()[0]}): write it anew.") from error


def _read_folder(folder: Path, text_column: str) -> pd.DataFrame:
    files = sorted(folder.rglob("*.txt"))
    if not files:
        raise UserError(f"{folder} has no .txt files: put one text in each, or give a table.")
    rows = [{text_column: decoded(file), "file": file.relative_to(folder).as_posix()} for file in files]
    return _from_one(pd.DataFrame(rows))


def _read_dataset(path: str) -> pd.DataFrame:
    import datasets

    name, _, split = path.removeprefix("hf:").partition(":")
    try:
        return _from_one(datasets.load_dataset(name, split=split or "train").to_pandas())
    except Exception as error:  # the library raises many kinds: offline, unknown id, gated
        raise UserError(
            f"data_path {path!r}: data set not reachable ({str(error).splitlines()[0]}); "
            f"check the name and the connection, or download it and give the file."
        ) from error


def _from_one(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis(range(1, len(table) + 1))


# --- records ---------------------------------------------------------------------------------------------------------


def to_records(table: pd.DataFrame, params: dict[str, Any]) -> list[dict]:
    """Records of a table, empty texts dropped.

    Of the parameters it uses task, data_path, text_column, label_column ('' for none), labels ([] to accept any), target_columns
    (those filled are the references), group_columns, id_column (''), split_column (''), test_split and validation_split. Raises
    UserError on a missing column, a label that is not in the task, one class only, or repeated ids.
    """
    check_columns(table, params)
    label, groups, split = params["label_column"], params["group_columns"], params["split_column"]
    targets, path = params.get("target_columns", []), params["data_path"]
    if params["id_column"]:
        check_ids(table[params["id_column"]].map(_text), path)
    records = []
    for number, row in zip(table.index, table.to_dict("records"), strict=True):
        where = f"{path}, row {number}"
        text = clean(_text(row[params["text_column"]], f"{where}: the text"))
        if not text:
            continue
        record = {"id": record_id(params["task"], text), "text": text}
        if label and (value := _text(row[label], f"{where}: the label").strip()):
            record["label"] = value
            if params["labels"] and value not in params["labels"]:
                raise UserError(
                    f"{where}: label {value!r} is not one of {', '.join(params['labels'])}; "
                    f"mend the row, or the parameter labels."
                )
        if references := list(dict.fromkeys(filter(None, (clean(_text(row[c])) for c in targets)))):
            record |= {"target": references[0], "references": references}
        record |= {g: _text(row[g]) for g in groups}
        record |= {k: row[k] for k in ("source", "spans", "parent_id") if isinstance(row.get(k), str | list)}
        record["split"] = split_name(_text(row[split]), params) if split else ""
        record.setdefault("source", "pool")
        records.append(record)
    if not records:
        raise UserError(f"{path}: column {params['text_column']!r} holds no text at all.")
    if split and not any(r["split"].startswith("test") for r in records):
        raise UserError(
            f"{path}: column {split!r} names no test row: set test_split to one of {listed(table[split].map(_text))}, "
            f"or split_column to ''."
        )
    if label and len(classes := {r["label"] for r in records if "label" in r}) < 2:
        said = f"only the class {classes.pop()!r}" if classes else "no label at all"
        raise UserError(
            f"{path}: column {label!r} holds {said}; a detector needs examples of at least two classes "
            f"(for texts without labels set label_column to '' and labeller to human)."
        )
    return records


def listed(values: pd.Series, most: int = 10) -> str:
    """The different values, commonest first, cut off after `most`."""
    found = [repr(value) for value in values.value_counts().index]
    return ", ".join(found[:most]) + ", …" * (len(found) > most)


def check_columns(table: pd.DataFrame, params: dict[str, Any]) -> None:
    """Raise UserError on a column that is missing, that serves twice, or that a record has for itself."""
    roles = {"text_column": [params["text_column"]], "label_column": [params["label_column"]]}
    roles |= {"target_columns": params.get("target_columns", []), "group_columns": params["group_columns"]}
    roles |= {"split_column": [params["split_column"]], "id_column": [params["id_column"]]}
    for role, names in roles.items():
        for name in filter(None, names):
            if name not in table.columns:
                raise UserError(
                    f"{params['data_path']}: column {name!r} is missing (parameter {role}); "
                    f"the table has {', '.join(map(str, table.columns))}."
                )
            if role == "group_columns" and name in RESERVED:
                raise UserError(
                    f"Parameter group_columns: {name!r} is the name of a field that every record has; rename that column."
                )
    if params["text_column"] in [params["label_column"], *chain(roles["target_columns"])]:
        raise UserError(
            f"Column {params['text_column']!r} is both the text and the answer: mend text_column or the other."
        )


def check_ids(ids: pd.Series, path: str) -> None:
    """Raise UserError naming the first two rows that share an id."""
    repeated = ids[ids.duplicated()]
    if len(repeated):
        value, second = repeated.iloc[0], repeated.index[0]
        raise UserError(
            f"{path}, row {second}: id {value!r} already stands in row {ids[ids == value].index[0]}; "
            f"ids must be unique, or set id_column to ''."
        )


def _text(value: Any, where: str = "") -> str:
    """The text of a cell, '' for a missing one; whole numbers stand without a decimal point, truth values as true and false."""
    if isinstance(value, dict | list | np.ndarray):
        raise UserError(f"{where or 'A cell'} is a {type(value).__name__}, not a text: flatten it to one value a cell.")
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):  # as JSON and YAML write it
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with gaps is read as decimals
        return str(int(value))
    return str(value)
