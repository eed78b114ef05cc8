"""Labels in and out of tables: export to CSV, JSONL or Parquet, and import of a label file somebody already has."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from helpers import data, labels
from helpers.env import UserError
from helpers.run import replacing

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
    rows = labels.events(folder)
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

    `decided` is `adjudicator`, `majority`, `only one`, or `tie` (then `label` is empty). `spans`, `notes` and `flags` are
    dicts by annotator; `count` is the number of labels.
    """
    state = labels.annotations(source)
    texts = {r["id"]: r["text"] for r in records or []}
    people = sorted(name for name in state if name != labels.ADJUDICATOR)
    rows = []
    for record in dict.fromkeys(record for answers in state.values() for record in answers):
        own = {name: state[name][record] for name in people if record in state[name]}
        given = {name: answer["label"] for name, answer in own.items() if answer["label"] is not None}
        settled = state.get(labels.ADJUDICATOR, {}).get(record, {}).get("label")
        label, decided = _decide(list(given.values()), settled)
        row = {"id": record, "text": texts.get(record, ""), "label": label, "decided": decided, "count": len(given)}
        row |= {f"label_{name}": given.get(name) for name in people}
        row["spans"] = {name: answer["spans"] for name, answer in own.items() if answer["spans"]}
        row["notes"] = {name: answer["note"] for name, answer in own.items() if answer["note"]}
        rows.append(row | {"flags": [name for name, answer in own.items() if answer["flagged"]]})
    return pd.DataFrame(rows)


def settled(source: Path | list[dict]) -> dict[str, Any]:
    """Label of every record on which it is decided: the adjudicator's, else the majority's; a tie is left out."""
    state = labels.annotations(source)
    decided = state.pop(labels.ADJUDICATOR, {})
    given: dict[str, list] = {}
    for answers in state.values():
        for record, answer in answers.items():
            given.setdefault(record, []).extend([] if answer["label"] is None else [answer["label"]])
    ids = [*given, *(record for record in decided if record not in given)]
    found = {i: _decide(given.get(i, []), decided.get(i, {}).get("label"))[0] for i in ids}
    return {i: label for i, label in found.items() if label is not None}


def _decide(given: list, settled: Any) -> tuple[Any, str]:
    if settled is not None:
        return settled, labels.ADJUDICATOR
    if not given:
        return None, ""
    votes = Counter(json.dumps(label, ensure_ascii=False, sort_keys=True) for label in given).most_common(2)
    if len(votes) == 2 and votes[0][1] == votes[1][1]:
        return None, "tie"
    return json.loads(votes[0][0]), "majority" if len(given) > 1 else "only one"


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
    table = data.read_table(str(path), id_column or text_column)
    for column in (label_column, annotator_column):
        if column and column not in table.columns:
            raise UserError(f"{path} has no column {column!r}: choose one of {', '.join(map(str, table.columns))}.")
    known = {r["id"] for r in records}
    seen = {row["event_id"] for row in labels.events(folder) if "event_id" in row}
    wanted: dict[str, list[dict]] = {}
    first: dict[tuple[str, str], str] = {}
    report: dict[str, Any] = {"rows": len(table), "taken": 0, "empty": [], "unmatched": [], "not_in_task": []}
    report |= {"duplicates": [], "conflicts": [], "known": 0, "unknown_labels": Counter()}
    ids = table[id_column].map(_text) if id_column else table[text_column].map(_id_of_text(task))
    names = table[annotator_column].map(_text) if annotator_column else [annotator] * len(table)
    now = round(time.time(), 3)
    for number, (record, name, value) in enumerate(zip(ids, names, table[label_column].map(_text), strict=True), 2):
        label = (mapping or {}).get(value, value)
        if not label or not name:
            report["empty"].append(number)
        elif record not in known:
            report["unmatched"].append(number)
        elif task_labels and label not in task_labels:
            report["not_in_task"].append(number)
            report["unknown_labels"][label] += 1
        elif (name, record) in first:
            report["duplicates" if first[name, record] == label else "conflicts"].append(number)
        else:
            first[name, record] = label
            key = hashlib.sha256(f"import\0{name}\0{record}\0{label}".encode()).hexdigest()[:16]
            report["taken" if key not in seen else "known"] += 1
            if key not in seen:
                row = {"event_id": key, "time": now, "event": "label", "id": record, "annotator": name, "label": label}
                wanted.setdefault(name, []).append(row | {"source": Path(path).name})
    if len(report["unmatched"]) + len(report["empty"]) == len(table):
        raise UserError(
            f"{path}: none of its {len(table)} rows matches one of the {len(records)} records; check text_column or "
            "id_column, and that the file belongs to this task."
        )
    for name in wanted:  # before the first of them is written
        labels.check_annotator(name)
    for name, rows in wanted.items():
        labels.append_all(folder, name, rows)
    return report | {"unknown_labels": dict(report["unknown_labels"]), "annotators": len({name for name, _ in first})}


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

    def record_id(text: Any) -> str:
        if text not in cache:
            cache[text] = data.record_id(task, data.clean(_text(text)))
        return cache[text]

    return record_id
