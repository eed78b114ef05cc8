"""Parquet files and data sets of the hub, which Arrow holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers.data import batched
from helpers.data.batched import Source, column_names, sliced
from helpers.env import UserError
from helpers.files import open_regular
from helpers.masking import without_secrets

if TYPE_CHECKING:
    import pyarrow as pa

DECODED = 16  # rows of a Parquet file that are decoded at once: a value that it holds once can be that of every row


def open_parquet(file: Path) -> Source:
    def frames(remarks: list[str], exact: bool) -> Iterator[pd.DataFrame]:
        import pyarrow.parquet

        start = 0
        try:
            # Row groups of a million rows are usual: page by page, not the whole of one.
            with (
                open(file, "rb", opener=open_regular) as stream,
                pyarrow.parquet.ParquetFile(stream, buffer_size=2**20, pre_buffer=False) as content,
            ):
                for part in _gathered(
                    content.iter_batches(min(DECODED, batched.BATCH)), content.schema_arrow.empty_table()
                ):
                    table = _with_index(part, start)
                    whole = table.to_pandas(types_mapper=pd.ArrowDtype) if exact else _from_arrow(table)
                    whole = _numbered(whole, str(file), start)
                    start += len(whole)
                    yield from sliced(whole) if part.nbytes > batched.CHARACTERS else [whole]
        except UserError:
            raise
        except Exception as error:  # pyarrow's errors are of many kinds, an OSError for a damaged file among them
            if isinstance(error, OSError) and error.errno:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"{file} is not a Parquet file that can be read ({reason}): write it again.") from error

    return Source(str(file), list(next(frames([], False)).columns), frames)


def read_dataset(path: str) -> pd.DataFrame:
    """Rows of a hub data set, `hf:owner/name` or `hf:owner/name:split`."""
    import datasets
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    name, _, split = path.removeprefix("hf:").partition(":")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"data_path {path!r} names no data set of the hub: give hf:owner/name, or a file.") from error
    if Path(name).exists():  # which the library would read in its place
        remedy = "rename it, or give its files without hf:"
        raise UserError(f"data_path {path!r}: {Path(name).resolve()} has the name of that data set; {remedy}.")
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


def _gathered(batches: Iterable[pa.RecordBatch], none: pa.Table) -> Iterator[pa.Table]:
    """The batches in tables of at most BATCH rows, of which the last one reaches CHARACTERS bytes; `none` without any."""
    import pyarrow as pa

    part, rows, size, count = [], 0, 0, 0
    for batch in batches:
        if part and (rows + len(batch) > batched.BATCH or size >= batched.CHARACTERS):
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


def _numbered(table: pd.DataFrame, where: str, start: int = 0) -> pd.DataFrame:
    """The table with its rows numbered on from `start`, and cleaned names of columns; raises UserError when two are the same."""
    table = table.set_axis(range(start + 1, start + len(table) + 1))
    if not len(table.columns):
        return table
    return table.set_axis(column_names(where, list(map(str, table.columns)), Path(where)), axis=1)
