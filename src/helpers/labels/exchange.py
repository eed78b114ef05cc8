"""Labels in tables: export to CSV, JSONL or Parquet, and import of a label file somebody already has."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.data import tables
from helpers.data.batched import listed
from helpers.data.classes import clean_names, merge_look_alikes
from helpers.data.records import own_ids, record_id, with_every_own_id
from helpers.env import UserError
from helpers.labels import agreement, decisions, log
from helpers.text import clean, normalise, plural, quoted, unguarded
from helpers.text import name as cleaned_name

MOST_CLASSES = 200  # an annotator is weighed by a matrix of classes × classes


def export(
    source: Path | list[dict],
    path: Path,
    records: list[dict] | None = None,
    final: bool = True,
    raw: bool = False,
    has_classes: bool = True,
) -> pd.DataFrame:
    """Write the labels of a folder, or of what `log.events` returned, to a table (see `tables.write_table`); returns it.

    The table has one row a record (see `final_labels`), or without `final` one row an event, with everything in the logs.
    `has_classes` is False where people answer with texts. What annotators said about themselves is never in it. In a .csv or
    .tsv, a text that a spreadsheet would run as a formula has an apostrophe in front, unless it is to be `raw`;
    `import_labels` takes the apostrophe off again.
    """
    suffix = tables.check_suffix(path)
    rows = source if isinstance(source, list) else log.events(source)
    if not rows:
        raise UserError(f"{source} holds no labels: label first, or name the folder with the .jsonl logs.")
    table = final_labels(rows, records, has_classes) if final else pd.DataFrame(rows)
    # JSON alone has lists, and columns of texts and numbers.
    tables.write_table(
        path, table if suffix == ".jsonl" else tables.mapped(table, tables.flat).apply(_of_one_type), raw
    )
    return table


def final_labels(
    source: Path | list[dict], records: list[dict] | None = None, has_classes: bool = True
) -> pd.DataFrame:
    """One row a record, or one for each id that the data have for it, with the label decided on and everybody's own.

    Columns: `id`, `own_id` where the data have ids of their own, `split` (`seed`, `pool`, `test` …) where the records have
    one, `text`, `label` (empty on a tie), `decided` (as in `decisions.decisions`), `count` (number of labels),
    `label_<name>` for every annotator, `spans`, `notes` and `flags` (see `decisions.remarks`), and with three annotators or
    more `dawid_skene`, the likeliest label by `decisions.dawid_skene`, unless the labels are texts or MOST_CLASSES are passed.
    """
    state = log.annotations(source)
    known = {row["id"]: row for row in records or []}
    has_split = any("split" in row for row in records or [])
    has_own_ids = any(map(own_ids, records or []))
    people = sorted(name for name in state if name != log.ADJUDICATOR)
    rows = []
    for record, decision in decisions.decisions(state).items():
        labels = decision["labels"]
        remarks = decisions.remarks(state, record)
        if known and record not in known and decision["label"] is None and not labels and not any(remarks.values()):
            continue  # 01 has left the text out, because people skipped it
        row = {"id": record} | ({"own_id": ""} if has_own_ids else {})
        row |= {"split": known.get(record, {}).get("split", "")} if has_split else {}
        row["text"] = known.get(record, {}).get("text", "")
        row |= {"label": decision["label"], "decided": decision["decided"], "count": len(labels)}
        row |= {f"label_{name}": labels.get(name) for name in people}
        rows.append(row | remarks)
    final = pd.DataFrame(rows, columns=None if rows else ["id", "text", "label", "decided", "count"])
    answers = agreement.table(state)
    few = has_classes and answers.stack().nunique() <= MOST_CLASSES
    if few and answers.shape[1] >= 3 and len(answers):  # of two annotators who differ, nothing shows who is the better
        final["dawid_skene"] = final["id"].map(decisions.dawid_skene(answers).idxmax(axis=1))
    return with_every_own_id(final, records or [])


def settled_labels(source: Path | list[dict]) -> dict[str, Any]:
    """Record id → the adjudicator's label, else the majority's; a record with a tie is left out."""
    decided = decisions.decisions(log.annotations(source))
    return {i: decision["label"] for i, decision in decided.items() if decision["label"] is not None}


def tied_records(folder: Path) -> set[str]:
    """The records to which people gave as many votes for one label as for another, and which so have none."""
    decided = decisions.decisions(log.annotations(folder))
    return {i for i, decision in decided.items() if decision["decided"] == "tie"}


def refuse_ties(folder: Path, ids: Collection[str]) -> None:
    """Raise UserError where one of the records is tied: a set without it would be another set."""
    if tied := len(tied_records(folder).intersection(ids)):
        remedy = "import what one of them says now, by `ambo labels import FILE --annotator NAME`"
        raise UserError(f"{folder}: {tied} records have as many votes for one label as for another: {remedy}.")


def _of_one_type(column: pd.Series) -> pd.Series:
    """The column, as text where its cells are of several types, such as labels that several programs have written."""
    types = {float if type(cell) is int else type(cell) for cell in column.dropna()}
    if len(types) < 2:
        return column
    return column.map(lambda cell: cell if isinstance(cell, str) else json.dumps(cell), na_action="ignore")


def refuse_outside(folder: Path, task_labels: Sequence[str], ids: Collection[str]) -> None:
    """Raise UserError where the logs give one of the records `ids` a label that the task does not have.

    It names file, line, annotator and record. A task of generation has no labels, and any is one of it.
    """
    state = log.annotations(folder) if task_labels else {}
    for record, decision in decisions.decisions(state).items():
        label = decision["label"]
        if record not in ids or label is None or label in task_labels:
            continue
        names = [log.ADJUDICATOR, *state]
        by = next(name for name in names if state.get(name, {}).get(record, log.NO_ANSWER)["label"] is label)
        problem = f"{by} labels record {record} {quoted(str(label))}, which is not one of {', '.join(task_labels)}"
        rename = shlex.join(["--rename", f"{label}=NEW"])
        renamed = f"`ambo labels export --to FILE`, then `ambo labels import FILE {rename}`"
        remedy = f"correct that line, or give the right label with `ambo labels import`; of a renamed class, {renamed}"
        raise UserError(f"{log.place_of(folder, by, record, label)}: {problem}; {remedy}.")


UNNAMED = "imported"  # the annotator of labels that nobody is named for
LEFT_OUT = {
    "empty": "without a label or an annotator",
    "several": "more than one label in the cell",
    "unmatched": "no record of this run has that text or id",
    "not_in_task": "label not in the task",
    "duplicates": "repeats a label of the same annotator",
    "conflicts": "contradicts an earlier row of the same annotator, which counts",
}


def import_labels(
    path: str | Path,
    folder: Path,
    records: list[dict],
    task: str,
    label_column: str = "label",
    text_column: str = "text",
    id_column: str = "",
    annotator_column: str = "",
    annotator: str = UNNAMED,
    task_labels: Sequence[str] = (),
    mapping: dict[str, str] | None = None,
    elsewhere: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write the labels of a table into the logs of `folder`, one log per annotator; importing a file again adds nothing.

    A label replaces what the annotator said of the record before. Of two equal rows one counts; of two labels of one
    annotator for one record, the first.

    Parameters
    ----------
    records : list of dicts
        The records that the labels belong to, with the ids of `task`.
    id_column : str
        Finds a row's record, by our id or by that of `id_column` in 01; without it the text does (case and blanks do not count).
    annotator_column : str
        Says who labelled a row; without it `annotator` did.
    task_labels : sequence of str
        Rows with other labels are left out, unless it is empty.
    mapping : dict, optional
        Renames labels of the file.
    elsewhere : mapping, optional
        Record id → the folder of logs that counts for this record in place of `folder`.

    Returns
    -------
    dict
        `rows`, `taken`, `corrected` (those of them where the logs said otherwise), `known` (in the logs before) and
        `annotators` are numbers; `written` has folder, annotator and record of each label taken; the keys of `LEFT_OUT` have
        lists of row numbers (as in `tables.read_table`); `unknown_labels` maps labels outside the task to their counts, and
        `remarks` are sentences on what was guessed or merged.
    """
    table = tables.read_table(str(path), id_column or text_column)
    remarks = list(table.attrs.get("remarks", []))
    given = (label_column, text_column, id_column, annotator_column)
    label_column, text_column, id_column, annotator_column = (tables.column_name(table, column) for column in given)
    for column in (label_column, annotator_column):
        if column and column not in table.columns:
            raise UserError(f"{path} has no column {column!r}: choose one of {listed(table.columns)}.")
    is_text = str(path).lower().endswith((".csv", ".tsv"))
    own = None if is_text else _own_apostrophes(table, label_column, {folder, *(elsewhere or {}).values()})
    may_be_guarded = is_text or own is not None
    ids, ambiguous = _record_ids(table, records, task, text_column, id_column, may_be_guarded)
    names, cells = [annotator] * len(table), list(table[label_column])
    if may_be_guarded:
        bare = _unguarded_labels(cells, [*task_labels, *(mapping or {}), *(own or ())])
        count = sum(was is not now for was, now in zip(cells, bare, strict=True))
        if own is not None and count:
            problem = f"{label_column}, {plural(count, 'cell')}: the apostrophe is taken off"
            remarks.append(f"{problem} that an export to CSV puts before a sign such as -.")
        cells = bare
    if annotator_column:  # no name of an annotator has an apostrophe
        names = [_name(unguarded(cell) if may_be_guarded else cell) for cell in table[annotator_column]]
    labels, merged = _task_labels([_single(cell) for cell in cells], task_labels, mapping or {})
    remarks += [f"{label_column}: {sentence}." for sentence in merged]
    if ambiguous:
        where = f"{id_column or text_column}, {plural(ambiguous, 'cell')}"
        which = "of one record as it stands, of another without the apostrophe in front; the former counts"
        remarks.append(f"{where}: {which}.")

    rows = list(zip(table.index, ids, names, labels, strict=True))
    labels_by_key, left_out = _sort_rows(rows, {row["id"] for row in records}, task_labels)
    if len(left_out["unmatched"]) + len(left_out["empty"]) == len(table):
        raise UserError(
            f"{path}: none of its {len(table)} rows matches one of the {len(records)} records; check text_column or "
            "id_column, and that the file belongs to this task."
        )
    for name, _ in labels_by_key:  # all of them before the first log is written
        log.check_person(name)
    places: dict[Path, dict[tuple[str, str], str]] = {}
    for (name, record), label in labels_by_key.items():
        places.setdefault((elsewhere or {}).get(record, folder), {})[name, record] = label
    written, corrected = [], 0
    for place, given_labels in places.items():
        keys, count = _write_labels(place, given_labels, Path(path).name)
        written += [(place, *key) for key in keys]
        corrected += count
    if not annotator_column and label_column == "label":
        remarks += _votes_of_an_export(path, table, annotator, written)
    unknown = set(left_out["not_in_task"])
    return left_out | {
        "rows": len(table),
        "taken": len(written),
        "written": written,
        "corrected": corrected,
        "known": len(labels_by_key) - len(written),
        "annotators": len({name for name, _ in labels_by_key}),
        "unknown_labels": dict(Counter(label for number, _, _, label in rows if number in unknown)),
        "remarks": remarks,
    }


def _votes_of_an_export(
    path: str | Path, table: pd.DataFrame, annotator: str, written: list[tuple[Path, str, str]]
) -> list[str]:
    """What to say where the decisions of an export have come in as one annotator's votes beside those of others."""
    columns = set(table.columns)
    if not {"decided", "count"} <= columns:
        return []
    decided = {place: decisions.decisions(log.annotations(place)) for place in {place for place, _, _ in written}}
    others = [decided[place][record]["labels"].keys() - {annotator} for place, _, record in written]
    names = sorted(name for name in set().union(*others) if f"label_{name}" in columns)
    if not names:
        return []
    name, count = names[0], sum(map(bool, others))
    problem = f"{path} is an export: its column label has decisions, of which {count} now count as votes of {annotator}"
    remedy = shlex.join(["--label-column", f"label_{name}", "--annotator", name])
    return [
        f"{problem} beside those of others; to correct what {name} said, correct the column label_{name} and import it with "
        f"{remedy}. Only the adjudication panel decides for everybody."
    ]


def _record_ids(
    table: pd.DataFrame, records: list[dict], task: str, text_column: str, id_column: str, may_be_guarded: bool
) -> tuple[list[str], int]:
    """(the record id of every row, found by an id, ours or the data's own, or by the text; how many have two such records).

    An apostrophe in front may be the text's own. Only where no record has it, or the row has our id of another, is it the
    one that `text.guarded` has put there.
    """
    known = {row["id"] for row in records}
    ids = {own_id: row["id"] for row in records for own_id in own_ids(row)} | {i: i for i in known}

    def found(cell: Any) -> str:
        if id_column:
            return ids.get(_name(cell), _name(cell))
        return record_id(task, clean(tables.cell_text(cell)))  # a text has a row for every annotator

    result, ambiguous = [], 0
    own_column = table["id"] if may_be_guarded and "id" in table.columns else [""] * len(table)
    for cell, own in zip(table[id_column or text_column], own_column, strict=True):
        readings = [found(cell)]
        if may_be_guarded and (bare := unguarded(cell)) is not cell:
            readings.append(found(bare))
        fitting = [i for i in readings if i in known] or readings
        result.append(own if own in fitting else fitting[0])
        ambiguous += own not in fitting and len({*fitting} & known) > 1
    return result, ambiguous


def _own_apostrophes(table: pd.DataFrame, label_column: str, folders: Iterable[Path]) -> set[str] | None:
    """The cells of labels whose apostrophe in front is their own, of a table that may be an export to CSV which somebody
    has saved in another format; None for a table that is no export.

    An answer that a record has now, apostrophe included, is as it was given.
    """
    columns = set(table.columns)
    if not ({"id", "decided", "count"} <= columns or {"id", "event", "annotator"} <= columns):
        return None
    given = {(i, label) for place in folders for i, label in settled_labels(place).items()}
    cells = zip(table["id"], table[label_column], strict=True)
    return {cell for i, cell in cells if isinstance(cell, str) and (i, cell) in given}


def _unguarded_labels(cells: Iterable[Any], classes: Iterable[str]) -> list[Any]:
    """The cells without the apostrophe of `text.guarded`; one that is the name of a class keeps it."""
    names = set(map(normalise, classes))
    return [cell if isinstance(cell, str) and normalise(cell) in names else unguarded(cell) for cell in cells]


def _single(value: Any) -> str | None:
    """The text of a label's cell; None where it holds several."""
    try:
        return tables.cell_text(value)
    except UserError:
        return None


def _task_labels(
    cells: list[str | None], task_labels: Sequence[str], mapping: dict[str, str]
) -> tuple[list[str | None], list[str]]:
    """(label of every cell in the task's spelling, what was merged or read as missing); a task of generation keeps the text."""
    texts = [cell or "" for cell in cells]
    if task_labels:
        names, missing = clean_names(texts, [*task_labels, *mapping])
        # What was renamed is no news.
        written = [mapping.get(name, text) for text, name in zip(texts, names, strict=True)]
        names = [mapping.get(name, name) for name in names]
        labels, merged = merge_look_alikes(written, names, task_labels)
        merged += [f"{quoted(value)} ({plural(count, 'row')}): read as missing" for value, count in missing.items()]
    else:
        labels, merged = [mapping.get(text, text) for text in map(clean, texts)], []
    return [None if cell is None else label for cell, label in zip(cells, labels, strict=True)], merged


def _sort_rows(
    rows: Iterable[tuple[int, str, str, str | None]], known_ids: set[str], task_labels: Sequence[str]
) -> tuple[dict[tuple[str, str], str], dict[str, list[int]]]:
    """Sort rows of (number, record id, annotator, label) into those that count and, by reason, the others.

    Returns (annotator, record id) → label, and reason → row numbers.
    """
    labels_by_key: dict[tuple[str, str], str] = {}
    left_out: dict[str, list[int]] = {reason: [] for reason in LEFT_OUT}
    for number, record, name, label in rows:
        if label is None:
            left_out["several"].append(number)
        elif not label or not name:
            left_out["empty"].append(number)
        elif record not in known_ids:
            left_out["unmatched"].append(number)
        elif task_labels and label not in task_labels:
            left_out["not_in_task"].append(number)
        elif (name, record) not in labels_by_key:
            labels_by_key[name, record] = label
        elif labels_by_key[name, record] == label:
            left_out["duplicates"].append(number)
        else:
            left_out["conflicts"].append(number)
    return labels_by_key, left_out


def _write_labels(
    folder: Path, labels_by_key: dict[tuple[str, str], str], source: str
) -> tuple[list[tuple[str, str]], int]:
    """Write the labels that differ from what the logs say now, one annotator after another.

    Returns (annotator and record of each, how many of them replace another answer).
    """
    rows = log.events(folder)
    stored, state = {row.get("event_id") for row in rows}, log.annotations(rows)
    new_events: dict[str, list[dict]] = {}
    corrected = 0
    for (name, record), label in labels_by_key.items():
        answer = state.get(name, {}).get(record, log.NO_ANSWER)
        if answer["label"] == label:
            continue
        is_correction = answer["label"] is not None or answer["skipped"]
        corrected += is_correction
        row = {"event": "label", "id": record, "label": label, "source": source}
        # At every first import the same: what was imported into two copies of the logs counts once in both together. A
        # correction counts at its own time, or both together might say what both have replaced.
        key = hashlib.sha256(f"import\0{name}\0{record}\0{label}".encode()).hexdigest()[:16]
        new_events.setdefault(name, []).append(row if is_correction or key in stored else row | {"event_id": key})
    log.refuse_look_alikes(folder, new_events)  # before the first is written
    for name, own in new_events.items():
        log.append_all(folder, name, own)
    return [(name, row["id"]) for name, own in new_events.items() for row in own], corrected


def describe(report: dict[str, Any]) -> list[str]:
    """The report of an import in lines, with the first five row numbers of what was left out."""
    lines = [f"taken: {report['taken']} of {report['rows']} rows; annotators: {report['annotators']}"]
    if report["corrected"]:
        lines.append(f"of these, instead of another answer in the logs: {report['corrected']}")
    if report["known"]:
        lines.append(f"in the logs already: {report['known']}")
    for reason, words in LEFT_OUT.items():
        if numbers := report[reason]:
            if reason == "not_in_task":
                unknown = list(report["unknown_labels"].items())[:5]
                words += f" ({', '.join(f'{label!r} {count}×' for label, count in unknown)})"
            first = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
            lines.append(f"left out, {words}: {len(numbers)} (row {first})")
    return lines


def _name(value: Any) -> str:
    return cleaned_name(tables.cell_text(value))
