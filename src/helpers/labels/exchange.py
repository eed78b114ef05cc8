"""Labels in and out of tables: export to CSV, JSONL or Parquet, and import of a label file somebody already has."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.data import tables
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.files import replacing
from helpers.labels import agreement, decisions, log
from helpers.text import clean

FORMATS = (".csv", ".jsonl", ".parquet")


# --- out -------------------------------------------------------------------------------------------------------------


def export(folder: Path, path: Path, records: list[dict] | None = None, final: bool = True) -> pd.DataFrame:
    """Write the labels to `path` (.csv, .jsonl or .parquet by its suffix), whole or not at all, and return the table.

    final: one row a record (see `final_labels`); otherwise one row an event, with everything the logs hold. What annotators
    said about themselves is in neither. Raises UserError when there is nothing to export or the suffix is unknown.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} ends in {path.suffix!r}: export to one of {', '.join(FORMATS)}.")
    rows = log.events(folder)
    if not rows:
        raise UserError(f"{folder} holds no labels: label first, or name the folder with the .jsonl logs.")
    table = final_labels(rows, records) if final else pd.DataFrame(rows)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".jsonl":
            lines = (json.dumps(_present(row), ensure_ascii=False) + "\n" for row in table.to_dict("records"))
            temporary.write_text("".join(lines), encoding="utf-8")
        elif path.suffix.lower() == ".csv":
            table.map(_flat).to_csv(temporary, index=False)
        else:
            table.map(_flat).to_parquet(temporary, index=False)
    return table


def final_labels(source: Path | list[dict], records: list[dict] | None = None) -> pd.DataFrame:
    """One row a record: id, text, label (the adjudicator's, else the majority's), how it came about, each annotator's.

    `decided` is as in `aggregation.decisions`; `label` is empty on a tie. `spans`, `notes` and `flags` are dicts by annotator;
    `count` is the number of labels. With three annotators or more, `dawid_skene` is the label of `aggregation.dawid_skene`.
    """
    state = log.annotations(source)
    texts = {r["id"]: r["text"] for r in records or []}
    people = sorted(name for name in state if name != log.ADJUDICATOR)
    rows = []
    for record, one in decisions.decisions(state).items():
        row = {"id": record, "text": texts.get(record, ""), "label": one["label"], "decided": one["decided"]}
        row |= {"count": len(one["labels"])} | {f"label_{name}": one["labels"].get(name) for name in people}
        rows.append(row | decisions.remarks(state, record))
    found = pd.DataFrame(rows)
    answers = agreement.table(state)
    if answers.shape[1] >= 3 and len(answers):  # two who differ give it nothing to tell them apart by
        found["dawid_skene"] = found["id"].map(decisions.dawid_skene(answers)[0].idxmax(axis=1))
    return found


def settled_labels(source: Path | list[dict]) -> dict[str, Any]:
    """Label of every record on which it is decided: the adjudicator's, else the majority's; a tie is left out."""
    decided = decisions.decisions(log.annotations(source))
    return {record: one["label"] for record, one in decided.items() if one["label"] is not None}


def _flat(value: Any) -> Any:
    """A list or dict as JSON, '' when empty: a cell holds text."""
    return (json.dumps(value, ensure_ascii=False) if value else "") if isinstance(value, list | dict) else value


def _present(row: dict) -> dict:
    return {k: v for k, v in row.items() if not (v is None or (isinstance(v, float) and v != v))}


# --- in --------------------------------------------------------------------------------------------------------------


def import_labels(
    path: str | Path,
    folder: Path,
    records: list[dict],
    task: str,
    label_column: str = "label",
    text_column: str = "text",
    id_column: str = "",
    annotator_column: str = "",
    annotator: str = "imported",
    task_labels: list[str] | None = None,
    mapping: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Take the labels of a table into the logs, one log per annotator, and return a report of what did not match.

    Rows find their record by `id_column`, else by their text (upper and lower case and punctuation do not count; `task` is
    the records'). `mapping` renames labels of the file. Importing a file again adds nothing. Of two equal rows one counts;
    of two labels of one annotator for one record, the first. Report: rows, taken, empty, unmatched, not_in_task,
    duplicates, conflicts (row numbers, the header is row 1), known (in the logs already), unknown_labels, annotators.
    """
    table = tables.read_table(str(path), id_column or text_column)
    for column in (label_column, annotator_column):
        if column and column not in table.columns:
            raise UserError(f"{path} has no column {column!r}: choose one of {', '.join(map(str, table.columns))}.")
    ids = table[id_column].map(_text) if id_column else table[text_column].map(_id_of_text(task))
    names = table[annotator_column].map(_text) if annotator_column else [annotator] * len(table)
    given = [(mapping or {}).get(value, value) for value in table[label_column].map(_text)]
    first, report = _sift(list(zip(ids, names, given, strict=True)), {r["id"] for r in records}, task_labels)
    if len(report["unmatched"]) + len(report["empty"]) == len(table):
        raise UserError(
            f"{path}: none of its {len(table)} rows matches one of the {len(records)} records; check text_column or "
            "id_column, and that the file belongs to this task."
        )
    wanted = _new_events(first, folder, Path(path).name)
    for name in wanted:  # before the first of them is written
        log.check_annotator(name)
    for name, rows in wanted.items():
        log.append_all(folder, name, rows)
    taken = sum(map(len, wanted.values()))
    return report | {"taken": taken, "known": len(first) - taken, "annotators": len({name for name, _ in first})}


def _sift(
    rows: list[tuple[str, str, str]], known: set[str], task_labels: list[str] | None
) -> tuple[dict[tuple[str, str], str], dict[str, Any]]:
    """From (record, annotator, label) rows: the first label by annotator and record, and the report of the others."""
    first: dict[tuple[str, str], str] = {}
    report: dict[str, Any] = {"rows": len(rows), "unknown_labels": {}}
    report |= {kind: [] for kind in ("empty", "unmatched", "not_in_task", "duplicates", "conflicts")}
    for number, (record, name, label) in enumerate(rows, 2):
        if not label or not name:
            report["empty"].append(number)
        elif record not in known:
            report["unmatched"].append(number)
        elif task_labels and label not in task_labels:
            report["not_in_task"].append(number)
            report["unknown_labels"][label] = report["unknown_labels"].get(label, 0) + 1
        elif (name, record) in first:
            report["duplicates" if first[name, record] == label else "conflicts"].append(number)
        else:
            first[name, record] = label
    return first, report


def _new_events(first: dict[tuple[str, str], str], folder: Path, source: str) -> dict[str, list[dict]]:
    """Annotator → label events that the logs do not hold yet; the same label of a file has the same event id again."""
    seen = {row["event_id"] for row in log.events(folder) if "event_id" in row}
    wanted: dict[str, list[dict]] = {}
    for (name, record), label in first.items():
        key = hashlib.sha256(f"import\0{name}\0{record}\0{label}".encode()).hexdigest()[:16]
        if key not in seen:
            row = {"event_id": key, "event": "label", "id": record, "label": label, "source": source}
            wanted.setdefault(name, []).append(row)
    return wanted


def describe(report: dict[str, Any], show: int = 5) -> list[str]:
    """The report of an import in plain lines, with the first row numbers of what was not taken."""
    unknown = ", ".join(f"{label!r} {count}×" for label, count in list(report["unknown_labels"].items())[:show])
    lines = [f"taken: {report['taken']} of {report['rows']} rows; annotators: {report['annotators']}"]
    if report["known"]:
        lines.append(f"in the logs already: {report['known']}")
    for kind, words in {
        "empty": "without a label or an annotator",
        "unmatched": "no record of this run has that text or id",
        "not_in_task": f"label not in the task ({unknown})",
        "duplicates": "repeats a label of the same annotator",
        "conflicts": "contradicts an earlier row of the same annotator, which counts",
    }.items():
        if numbers := report[kind]:
            first = ", ".join(map(str, numbers[:show])) + " …" * (len(numbers) > show)
            lines.append(f"left out, {words}: {len(numbers)} (row {first})")
    return lines


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():  # Parquet and JSON have numbers; 1.0 is written 1
        return str(int(value))
    return str(value).strip()


def _id_of_text(task: str):
    cache: dict[Any, str] = {}  # a text stands in as many rows as it has annotators

    def look_up(text: Any) -> str:
        if text not in cache:
            cache[text] = record_id(task, clean(_text(text)))
        return cache[text]

    return look_up
