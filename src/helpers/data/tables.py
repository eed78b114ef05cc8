"""Records of a user's table, checked; `reading` reads the table.

A mistake in the table is one UserError that names the file, the row and the remedy.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from helpers.data import embedded
from helpers.data.annotations import read_annotations
from helpers.data.batched import Source, add_remark, column_name, listed
from helpers.data.classes import (
    by_threshold,
    clean_names,
    merge_look_alikes,
    missing_remark,
    suspicions,
    without_missing,
)
from helpers.data.reading import open_lines, open_table, read_table
from helpers.data.records import record_id
from helpers.data.spans import read_spans
from helpers.env import UserError
from helpers.files import replacing, write_delimited
from helpers.task import threshold_classes
from helpers.text import clean, guarded, normalise, plural, quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Source", "cell_text", "column_name", "open_lines", "open_table", "read_table", "spreadsheet_safe", "to_records",
    "write_table", "writing",
]  # fmt: skip
GROUP = 2**25  # bytes of a row group of a .parquet

# Fields of a record: a group column that the user calls so is named with `_` behind it in group_columns, and is kept so.
RESERVED = (
    "id", "text", "label", "target", "references", "split", "spans", "parent_id", "source", "weight", "own_id", "own_ids",
    "labelled_by", "method", "writer", "target_source", "kinds", "answer", "right", "annotations",
)  # fmt: skip


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a CSV file, with an apostrophe before every text that a spreadsheet would run as a formula."""
    return mapped(table, guarded).rename(columns=guarded)


def mapped(table: pd.DataFrame, function: Callable[[Any], Any]) -> pd.DataFrame:
    """The table with the function's value for every cell but numbers, truth values and dates in columns of their own.

    `DataFrame.map` would make decimals of the whole numbers in a column with gaps, and lose the last digits of ids.
    """
    whole = table.copy()
    for name, column in table.items():
        if column.dtype == object or isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype):
            whole[name] = pd.Series(list(map(function, column)), column.index, dtype=object)
    return whole


def count_guarded(table: pd.DataFrame) -> int:
    """The number of cells that `spreadsheet_safe` changes."""
    return int(table.map(lambda cell: isinstance(cell, str) and guarded(cell) != cell).to_numpy().sum())


def flat(value: Any) -> Any:
    """A list or dict as JSON text for a cell, '' when it is empty."""
    if not isinstance(value, list | dict | np.ndarray):
        return value
    return _savable(json.dumps(_json_value(value), ensure_ascii=False)) if len(value) else ""


def _delimited(table: pd.DataFrame, raw: bool, has_header: bool, separator: str) -> bytes:
    whole, stream = mapped(table, flat), io.StringIO(newline="")
    write_delimited(stream, whole if raw else spreadsheet_safe(whole), separator, has_header)
    return stream.getvalue().encode()


def _json_lines(table: pd.DataFrame) -> bytes:
    names = list(map(str, table.columns))
    rows = zip(*(column.tolist() for _, column in table.items()), strict=True)
    lines = (json.dumps(dict(zip(names, map(_json_value, row), strict=True)), ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _json_value(cell: Any) -> Any:
    """What JSON has for a cell, null where it has nothing; every digit of a number is kept."""
    if isinstance(cell, dict):
        return {str(key): _json_value(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple | np.ndarray):
        return [_json_value(value) for value in cell]
    if isinstance(cell, str | int | None):
        return cell
    if isinstance(cell, bytes):
        return cell.decode()
    if pd.isna(cell) or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if isinstance(cell, np.generic):
        return cell.item()
    return cell if isinstance(cell, float) else str(cell)


WRITERS = (".csv", ".tsv", ".jsonl", ".parquet")


def check_suffix(path: str | Path) -> str:
    """The suffix of a table to write, in small letters; raises UserError unless it is one of WRITERS."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UserError(f"{path} ends in {Path(path).suffix!r}: choose one of {', '.join(WRITERS)}.")
    return suffix


def write_table(path: Path, table: pd.DataFrame, raw: bool = False) -> Path:
    """Write a table as `writing` does."""
    with writing(path, raw) as write:
        write(table)
    return path


@contextlib.contextmanager
def writing(
    path: Path, raw: bool = False, schema: pa.Schema | None = None, holder: str = ""
) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that writes the next rows of a table as the path's suffix says, whole or not at all.

    A .csv or .tsv is `spreadsheet_safe`, unless it is to be `raw`. Raises UserError on another suffix, and where the
    format cannot hold a column.

    Parameters
    ----------
    path : Path
    raw : bool
    schema : pyarrow.Schema, optional
        Types of the columns in a .parquet, by default those of the first rows; see `join_schema`.
    holder : str
        As for `replacing`.
    """
    suffix = check_suffix(path)
    with replacing(path, holder) as temporary:
        if suffix == ".parquet":
            with _writing_parquet(path, temporary, schema) as write:
                yield write
            return
        with temporary.open("wb") as stream:

            def content(table: pd.DataFrame) -> bytes:
                if suffix == ".jsonl":
                    return _json_lines(table)
                return _delimited(table, raw, stream.tell() == 0, "\t" if suffix == ".tsv" else ",")

            yield lambda table: stream.write(_fitting(content, table, path))


@contextlib.contextmanager
def _writing_parquet(path: Path, temporary: Path, schema: pa.Schema | None) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that gathers rows until they make a row group: readers want large ones."""
    import pyarrow as pa
    import pyarrow.parquet

    parts: list[pa.Table] = []
    file: pyarrow.parquet.ParquetWriter | None = None

    def flush(_: pd.DataFrame) -> None:
        nonlocal file
        file = file or pyarrow.parquet.ParquetWriter(temporary, parts[0].schema)
        file.write_table(pa.concat_tables(parts))
        parts.clear()

    def write(table: pd.DataFrame) -> None:
        parts.append(arrow_table(table, path, schema))
        if sum(part.nbytes for part in parts) > GROUP:
            _fitting(flush, table, path)

    try:
        yield write
        if parts:
            _fitting(flush, pd.DataFrame(), path)
    finally:
        if file:
            file.close()


def arrow_table(table: pd.DataFrame, path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """The table for a .parquet; raises UserError where it cannot hold a cell, or only as another value."""
    import pyarrow as pa

    def arrow(rows: pd.DataFrame) -> pa.Table:
        whole = pa.Table.from_pandas(rows, schema, preserve_index=False).replace_schema_metadata(None)
        for name, column in rows.items():
            kept = whole.column(str(name))
            if column.dtype != object or pa.types.is_string(kept.type):  # which holds texts alone
                continue
            for cell, value in zip(column, kept.to_pylist(), strict=True):
                if not _is_same(cell, value):
                    raise ValueError(f"column {name}: {quoted(str(cell))} would be {quoted(str(value))}")
        return whole

    return _fitting(arrow, table, path)


def _is_same(cell: Any, value: Any) -> bool:
    """Whether a value from Arrow is what was in the cell: 1 is 1.0, but not true, and a missing field is not null."""
    if isinstance(cell, dict):
        return (
            isinstance(value, dict) and cell.keys() == value.keys() and all(_is_same(cell[k], value[k]) for k in cell)
        )
    if isinstance(cell, list | tuple | np.ndarray):
        return isinstance(value, list) and len(cell) == len(value) and all(map(_is_same, cell, value))
    if isinstance(cell, bool | np.bool_) != isinstance(value, bool):
        return False
    return not isinstance(cell, str | int | float) or cell == value or bool(pd.isna(cell))


def join_schema(schema: pa.Schema | None, table: pd.DataFrame, path: Path) -> pa.Schema:
    """The types of columns that a .parquet needs to hold the rows so far and these; raises UserError where none can."""
    import pyarrow as pa
    import pyarrow.parquet

    def join(own: pa.Schema) -> pa.Schema:
        joint = own if schema in (None, own) else pa.unify_schemas([schema, own], promote_options="permissive")
        if joint != schema:
            pyarrow.parquet.ParquetWriter(io.BytesIO(), joint).close()
        return joint

    own = arrow_table(table, path).schema
    joint = _fitting(join, own, path)
    if joint != own:
        arrow_table(table, path, joint)
    return joint


def _fitting(function: Callable[[Any], Any], table: Any, path: Path) -> Any:
    """The function's value; raises UserError where the format of `path` cannot hold the rows."""
    try:
        try:
            return function(table)
        except UnicodeEncodeError:  # half a character, as JSON can hold it
            return function(mapped(table, _savable))
    # A column of numbers and texts, a number of 64 bits or more, an empty object, lists a thousand deep.
    except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as error:
        is_pair = all(isinstance(part, str) for part in error.args)  # what went wrong, and in which column
        reason = " ".join(("; ".join(error.args) if is_pair else str(error)).split())[:200]
        remedy = "choose .csv or .jsonl" if path.suffix.lower() == ".parquet" else "mend or leave out that column"
        raise UserError(f"{path} cannot hold this table ({reason}): {remedy}.") from error


def _savable(cell: Any) -> Any:
    """The cell with a question mark for every half of a character."""
    return cell.encode("utf-8", "replace").decode("utf-8") if isinstance(cell, str) else cell


# --- records ---


def to_records(table: pd.DataFrame, params: dict[str, Any]) -> list[dict]:
    """Make records of a table; rows without a text are left out.

    Of `params` it uses task, data_path, text_column, label_column ('' for none), labels ([] accepts any),
    label_threshold (''), target_columns (all that are filled become references), group_columns, id_column (''),
    spans_column (''), annotations_column (''), split_column (''), test_split and validation_split. What was merged or read as
    missing, and what is hardly meant, is added to the table's remarks. Raises UserError on a missing column, a label that
    the task does not have, fewer than two classes, or a repeated id. A table without the column of the labels has none,
    where `labels` says which there are to be.
    """
    names = params["group_columns"]  # as the records have them
    params = _as_in_table(table, params)
    if params["labels"] and params["label_column"] and params["label_column"] not in table.columns:
        words = f"so every text counts as unlabelled; people give one of {', '.join(params['labels'])}"
        add_remark(table, f"The table has no column {params['label_column']!r} (parameter label_column), {words}.")
        params = params | {"label_column": ""}
    _check_columns(table, params)
    path, task = params["data_path"], params["task"]
    raw_texts = _cells(table, params["text_column"], path, "the text")
    texts, missing = without_missing(map(clean, raw_texts))
    if missing:
        add_remark(table, missing_remark(f"Column {params['text_column']!r}", missing))
    rows = table[list(map(bool, texts))]  # the others count nowhere
    records = [{"id": record_id(task, text), "text": text} for text in texts if text]
    if not records:
        raise UserError(f"{path}: column {params['text_column']!r} holds no text at all.")
    if params["id_column"]:
        _add_own_ids(table, rows, records, params)
    if params["label_column"]:
        labels = _labels(table, rows, params)
        records = [r | ({"label": label} if label else {}) for r, label in zip(records, labels, strict=True)]
    _add_references(records, rows, params)
    for name, column in zip(names, params["group_columns"], strict=True):
        for record, group in zip(
            records, _names(table, rows, _column_of(column, table), path, "the group"), strict=True
        ):
            record[name] = group
        add_remark(table, *_merge_spellings(records, name))
    if path.startswith(embedded.PREFIX):  # in a user's table these mean what the user says
        for column in {"source", "spans", "kinds", "parent_id"} & set(rows.columns):
            for record, value in zip(records, rows[column], strict=True):
                if isinstance(value, str | list):
                    record[column] = value
    if params.get("spans_column"):
        _add_spans(table, rows, records, [raw for raw, text in zip(raw_texts, texts, strict=True) if text], params)
    if params.get("annotations_column"):
        _add_annotations(table, rows, records, params)
    if parents := table.attrs.get("parent_column"):  # of a table that another function of this room has made
        for record, parent in zip(records, rows[parents], strict=True):
            record["parent_id"] = record_id(task, clean(parent))
    splits = [""] * len(records)
    if params["split_column"]:
        splits = _splits(table, rows, params)
    for record, split in zip(records, splits, strict=True):
        record["split"] = split
        record.setdefault("source", "pool")
    if params["label_column"]:
        _check_classes(records, params)
        add_remark(table, *suspicions(records, set(table.columns), params["labels"]))
    return records


def _cells(rows: pd.DataFrame, column: str, path: str, what: str) -> list[str]:
    """The texts of a column's cells; `what` they are stands in an error."""
    numbered = zip(rows.index, rows[column].tolist(), strict=True)
    return [cell_text(value, f"{path}, row {number}: {what}") for number, value in numbered]


def clean_texts(table: pd.DataFrame, column: str) -> list[str]:
    """The texts of a column as records have them; raises UserError on a cell of several values."""
    return [
        clean(cell_text(value, f"Row {number}: the text"))
        for number, value in table[column_name(table, column)].items()
    ]


def refuse_columns(table: pd.DataFrame | Source, names: Iterable[str], where: str) -> None:
    """Raise UserError where a table has one of the columns that are to be added to it."""
    if taken := sorted(set(names) & set(map(str, table.columns))):
        raise UserError(f"{where} has a column {taken[0]!r} already: rename it, because the answers need that name.")


def _names(table: pd.DataFrame, rows: pd.DataFrame, column: str, path: str, what: str) -> list[str]:
    """The cells of a column as cleaned names, '' where a value is missing, which the table's remarks say."""
    names, missing = clean_names(_cells(rows, column, path, what))
    if missing:
        add_remark(table, missing_remark(f"Column {column!r}", missing))
    return names


def _merge_spellings(records: list[dict], column: str) -> list[str]:
    """Write groups that differ in case, width or `1` and `1.0` in their commonest spelling; returns a remark on each."""
    names = [record[column] for record in records]
    groups, merged = merge_look_alikes(names, names)
    for record, group in zip(records, groups, strict=True):
        record[column] = group
    return [f"Column {column!r}: {sentence}." for sentence in merged]


def _labels(table: pd.DataFrame, rows: pd.DataFrame, params: dict[str, Any]) -> list[str]:
    """The label of every row, '' where it has none; raises UserError on one that the task does not have."""
    path, column, meant = params["data_path"], params["label_column"], params["labels"]
    cells = _cells(rows, column, path, "the label")
    names, missing = clean_names(cells, meant)
    if missing:
        add_remark(table, missing_remark(f"Column {column!r}", missing, not meant))
    if params.get("label_threshold"):
        return _labels_by_threshold(table, rows, names, params)
    labels, merged = merge_look_alikes(cells, names, meant)
    add_remark(table, *(f"Column {column!r}: {sentence}." for sentence in merged))
    for number, label in zip(rows.index, labels, strict=True):
        if meant and label and label not in meant:
            problem = f"{path}, row {number}: label {quoted(label)} is not one of {', '.join(meant)}"
            raise UserError(f"{problem}; correct the row, or the parameter labels.")
    return labels


def _labels_by_threshold(
    table: pd.DataFrame, rows: pd.DataFrame, values: list[str], params: dict[str, Any]
) -> list[str]:
    """The class of every number: yes, or the task's positive label, from the threshold on; the other one below it."""
    positive, negative = threshold_classes(params)
    threshold = float(params["label_threshold"])
    try:
        labels = by_threshold(values, threshold, positive, negative)
    except ValueError as error:
        place = error.args[0]
        problem = f"{params['data_path']}, row {rows.index[place]}: label {quoted(values[place])} is no number"
        raise UserError(f"{problem}; correct the row, or set label_threshold to ''.") from error
    counts = Counter(labels)
    rule = f"{plural(counts[positive], 'row')} from {params['label_threshold']} on are {positive!r}"
    below = f"{plural(counts[negative], 'row')} below are {negative!r}"
    add_remark(table, f"Column {params['label_column']!r} by label_threshold: {rule}, {below}.")
    return labels


def _add_references(records: list[dict], rows: pd.DataFrame, params: dict[str, Any]) -> None:
    """Give every record its target texts, the first filled one as `target`."""
    columns = [_cells(rows, column, params["data_path"], "the target") for column in params.get("target_columns", [])]
    for record, *cells in zip(records, *columns, strict=True) if columns else ():
        if references := list(dict.fromkeys(filter(None, map(clean, cells)))):
            record |= {"target": references[0], "references": references}


def _add_spans(
    table: pd.DataFrame, rows: pd.DataFrame, records: list[dict], raw_texts: list[str], params: dict[str, Any]
) -> None:
    """Give the records their evidence; what is none is left out, and the table's remarks say so."""
    column = params["spans_column"]
    cells = zip(rows[column].tolist(), raw_texts, strict=True)
    left_out = _add_field(rows, records, "spans", (read_spans(value, raw) for value, raw in cells))
    if left_out:
        count = f"{sum(left_out.values())} left out (row {listed(left_out, 5)})"
        add_remark(table, f"Column {column!r}: {count}; evidence is [start, end] in characters inside the text.")


def _add_field(rows: pd.DataFrame, records: list[dict], field: str, found: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """Give each record what was found in its cell, if anything; returns row number → how much of it was left out."""
    left_out = {}
    for record, number, (value, bad) in zip(records, rows.index, found, strict=True):
        if bad:
            left_out[number] = bad
        if value:
            record[field] = value
    return left_out


def _add_annotations(table: pd.DataFrame, rows: pd.DataFrame, records: list[dict], params: dict[str, Any]) -> None:
    """Give the records what each annotator answered; the table's remarks say what of it is left out."""
    column = params["annotations_column"]
    labels = params["labels"] or sorted({r["label"] for r in records if r.get("label")})
    found = (read_annotations(value, labels) for value in rows[column].tolist())
    left_out = _add_field(rows, records, "annotations", found)
    if left_out:
        count = f"{plural(sum(left_out.values()), 'answer')} left out (row {listed(left_out, 5)})"
        rule = f'a cell is an object such as {{"ann": "{labels[0] if labels else "…"}"}}, with labels of the task'
        add_remark(table, f"Column {column!r}: {count}; {rule}.")


def _splits(table: pd.DataFrame, rows: pd.DataFrame, params: dict[str, Any]) -> list[str]:
    """The split of every row; raises UserError when none is a test row."""
    path, column = params["data_path"], params["split_column"]
    names = _names(table, rows, column, path, "the split")
    counts = Counter(names)
    split_of = {value: _split_name(value, params) for value in counts}
    splits = [split_of[name] for name in names]
    if not any(split.startswith("test") for split in splits):
        values = listed([quoted(value) for value, _ in counts.most_common()], 10)
        remedy = f"set test_split to one of {values}, or split_column to ''"
        raise UserError(f"{path}: column {column!r} names no test row: {remedy}.")
    if not path.startswith(embedded.PREFIX):
        add_remark(table, *_split_remark(counts, split_of, params))
    return splits


def _split_name(value: str, params: dict[str, Any]) -> str:
    """The split that a value of the data's split column means; rows of no evaluation set belong to the pool.

    What equals `test_split` or `validation_split` but for case means it, unless the other is spelled so.
    """
    meant = {params["test_split"]: "test", params["validation_split"]: "validation"}
    meant = {spelling: split for spelling, split in meant.items() if spelling}
    without_case = {normalise(spelling): split for spelling, split in reversed(meant.items())}
    if split := meant.get(value) or without_case.get(normalise(value)):
        return split
    return f"test_{value[5:]}" if value.casefold().startswith("test_") else "pool"


def _split_remark(counts: Counter, split_of: dict[str, str], params: dict[str, Any]) -> list[str]:
    """One sentence on every value of the split column but those that the parameters name: its count, where its rows go."""
    named = (params["test_split"], params["validation_split"])
    goes_to: dict[str, list[str]] = {}
    for value, count in counts.most_common():
        if not value or value not in named:
            shown = f"{quoted(value) if value else 'no value'} ({plural(count, 'row')})"
            goes_to.setdefault(split_of[value], []).append(shown)
    if not goes_to:
        return []
    pool = "to the pool" if "validation" in split_of.values() else "to the pool, from which validation rows are drawn"
    places = {split: pool if split == "pool" else f"read as {split}" for split in goes_to}
    parts = [f"{listed(values, 10)}: {places[split]}" for split, values in goes_to.items()]
    remedy = "; if that is an evaluation set, name it in test_split or validation_split" if "pool" in goes_to else ""
    return [f"Column {params['split_column']!r}: {'; '.join(parts)}{remedy}."]


SINGLE = ("text_column", "label_column", "split_column", "id_column", "spans_column", "annotations_column")
SEVERAL = ("target_columns", "group_columns")


def _as_in_table(table: pd.DataFrame, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with columns as the table calls them."""
    columns = {role: column_name(table, params.get(role, "")) for role in SINGLE}
    return params | columns | {role: [column_name(table, name) for name in params.get(role, [])] for role in SEVERAL}


def _check_columns(table: pd.DataFrame, params: dict[str, Any]) -> None:
    roles = {role: [params[role]] for role in SINGLE} | {role: params[role] for role in SEVERAL}
    for role, names in roles.items():
        if role in SEVERAL and "" in names:  # what is left of a name of signs that cannot be seen
            raise UserError(f"Parameter {role} names a column without a visible sign: correct it.")
        for name in filter(None, names):
            if (_column_of(name, table) if role == "group_columns" else name) not in table.columns:
                columns = listed(table.columns)
                place = f"{params['data_path']}: column {name!r} is missing (parameter {role})"
                remedy = ""
                if role == "label_column":  # the first thing that somebody with bare texts reads
                    remedy = ' For texts without labels add -p labels "[fine, biased]", with your own, and -p labeller human.'
                raise UserError(f"{place}; the table has {columns}.{remedy}")
    for name in params["group_columns"]:
        if name in RESERVED:
            problem = f"{name!r} is the name of a field that records or answers have"
            raise UserError(f"Parameter group_columns: {problem}; write {name + '_'!r} there for that column of yours.")
    text = params["text_column"]
    if text in [params["label_column"], *roles["target_columns"]]:
        remedy = "correct text_column, or the column of the answer"
        raise UserError(f"Column {text!r} is both the text and the answer: {remedy}.")


def _column_of(group: str, table: pd.DataFrame) -> str:
    """The table's column for a name in group_columns: `source_` means `source`, where there is no `source_`."""
    plain = group.removesuffix("_")
    return plain if group not in table.columns and plain in RESERVED else group


def _add_own_ids(table: pd.DataFrame, rows: pd.DataFrame, records: list[dict], params: dict[str, Any]) -> None:
    """Keep the user's ids as `own_id`; raises UserError when one stands twice."""
    path = params["data_path"]
    ids = _names(table, rows, params["id_column"], path, "the id")
    first: dict[str, int] = {}
    for record, own_id, number in zip(records, ids, rows.index, strict=True):
        if first.setdefault(own_id, number) != number:
            problem = f"{path}, row {number}: id {quoted(own_id)} already stands in row {first[own_id]}"
            raise UserError(f"{problem}; ids must be unique, or set id_column to ''.")
        record["own_id"] = own_id


def _check_classes(records: list[dict], params: dict[str, Any]) -> None:
    classes = {r["label"] for r in records if "label" in r}
    if len(classes) < 2:
        content = f"only the class {quoted(classes.pop())}" if classes else "no label at all"
        problem = f"{params['data_path']}: column {params['label_column']!r} holds {content}"
        remedy = "for texts without labels set label_column to '' and labeller to human"
        raise UserError(f"{problem}; a detector needs examples of at least two classes ({remedy}).")


def cell_text(value: Any, where: str = "A cell") -> str:
    """The text of a cell: '' for a missing one, 3 for 3.0, true and false in small letters, that of a list of one.

    Raises UserError on a cell of several values; `where` names it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | np.ndarray) and len(value) < 2:
        return cell_text(value[0], where) if len(value) else ""
    if isinstance(value, list | tuple | np.ndarray):
        raise UserError(f"{where} is a list of {len(value)}, not one value: flatten it to one value a cell.")
    if isinstance(value, dict | set | bytes):
        raise UserError(f"{where} is a {type(value).__name__}, not a text: flatten it to one value a cell.")
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):  # as JSON and YAML write it
        return str(value).lower()
    # A column of whole numbers with gaps is read as decimals.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
