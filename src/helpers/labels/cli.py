"""`ambo labels`: agreement of the annotators, export, import, and what is left to settle."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from helpers import env, files, run
from helpers.env import UserError

app = typer.Typer(no_args_is_help=True, help=__doc__)

Task = Annotated[str, typer.Option(help="a file name in params/tasks")]
RunId = Annotated[str, typer.Option(help="name of the run")]
Folder = Annotated[str, typer.Option(help="the logs, where they are not those of the run's human annotators")]
Field = Annotated[str, typer.Option(help="one field of labels that have several")]
WIDEST = 8  # annotators in a matrix that still fits a terminal


@dataclass
class Store:
    """A folder of logs, and the records and task that its labels belong to."""

    folder: Path
    records: list[dict]
    task: str
    labels: list[str]
    groups: list[str]

    def read(self) -> dict[str, dict[str, dict]]:
        """The state of the logs; raises UserError when they are empty or another task's, and says what does not fit."""
        from helpers.labels import log

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            state = log.annotations(self.folder)
        for warning in told:
            _note(str(warning.message))
        if not state:
            raise UserError(f"{self.folder} holds no labels: label first, or name another folder with --folder.")
        if missing := log.unmatched(state, [r["id"] for r in self.records]):
            _note(f"labelled records that are not among the run's: {len(missing)} (first: {missing[0]}).")
        if self.labels and (unknown := log.outside(state, self.labels)):  # a generation task has none
            listed = ", ".join(f"{label!r} {count}×" for label, count in list(unknown.items())[:5])
            _note(f"the logs have labels that the task does not have: {listed}.")
        return state


def _note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)


def open_store(task: str, run_id: str, folder: str = "") -> Store:
    """The labels of a run, its records (of 01 and 02), and its task; raises UserError when 01 has not run."""
    home = run.run_folder(task, run_id)
    first = home / run.STAGES["01"]
    manifest = run.read_manifest(first)
    if manifest is None or not (first / "task.json").exists():
        raise UserError(
            f"{first} is missing: run `ambo run --task {task} --run-id {run_id} …` first, or check the names."
        )
    found = json.loads((first / "task.json").read_text(encoding="utf-8"))
    records: dict[str, dict] = {}
    for path in [*sorted(first.glob("*.jsonl")), home / run.STAGES["02"] / "synthetic.jsonl"]:
        if path.exists():
            records |= {row["id"]: row for row in files.read_jsonl(path) if "text" in row}
    notebook = run.notebooks(found.get("kind", "classification"))["03"]
    logs = env.resolve(folder) if folder else home / notebook / "labels" / "human"
    groups = manifest["parameters"].get("group_columns", [])
    return Store(logs, list(records.values()), task, list(found["labels"]), groups)


@app.command()
def agreement(
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    field: Field = "",
    order: Annotated[str, typer.Option(help="labels from lowest to highest, comma-separated, for ordinal α")] = "",
) -> None:
    """How far the annotators agree: α overall, per label and per group, κ of every two, each with themselves."""
    from helpers.labels import agreement as measures

    store = open_store(task, run_id, folder)
    state = store.read()
    classes = [c.strip() for c in order.split(",")] if order else None
    rows = measures.summary(state, store.records, store.groups, field or None, classes)
    print(_plain(rows[rows["measure"] != "kappa"]))
    pairs = measures.kappas(measures.table(state, field or None))
    if not len(pairs):
        return
    if len(state) <= WIDEST:
        kappa, shared = measures.matrix(pairs), measures.matrix(pairs, "n")
        cells = {b: [_pair(kappa.at[a, b], shared.at[a, b]) for a in kappa.index] for b in kappa.columns}
        print("\nCohen's κ (records labelled by both)\n")
        print(type(kappa)(cells, index=kappa.index).to_string())
    else:
        most = pairs.sort_values("n", ascending=False, kind="stable").head(10)
        print("\nCohen's κ, the ten pairs with most records in common\n")
        print(_plain(most))


def _pair(kappa: float, shared: float) -> str:
    return "" if shared != shared else f"{kappa:.2f} ({shared:.0f})" if kappa == kappa else f"– ({shared:.0f})"


def _plain(table) -> str:
    return table.to_string(index=False, float_format="%.3f", na_rep="–")


@app.command()
def export(
    task: Task,
    run_id: RunId,
    to: Annotated[str, typer.Option(help="a .csv, .jsonl or .parquet file to write")],
    folder: Folder = "",
    history: Annotated[bool, typer.Option("--history", help="one row an event instead of one a record")] = False,
) -> None:
    """Write the labels to a table: one row a record with everyone's label, or every event with --history."""
    from helpers.labels import exchange

    store = open_store(task, run_id, folder)
    store.read()
    table = exchange.export(store.folder, env.resolve(to), store.records, final=not history)
    print(f"{to}: {len(table):,} {'event' if history else 'record'}{'s' * (len(table) != 1)} written")


@app.command("import")
def import_command(
    path: Annotated[str, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file with labels")],
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    label_column: Annotated[str, typer.Option(help="column with the label")] = "label",
    text_column: Annotated[str, typer.Option(help="column with the text, by which rows find their record")] = "text",
    id_column: Annotated[str, typer.Option(help="column with the record id, instead of the text")] = "",
    annotator_column: Annotated[str, typer.Option(help="column that says who labelled")] = "",
    annotator: Annotated[str, typer.Option(help="who labelled, where no column says it")] = "imported",
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW renames a label of the file; repeat it")] = None,
) -> None:
    """Take labels somebody already has into the logs, and say which rows did not fit."""
    from helpers.labels import exchange

    store = open_store(task, run_id, folder)
    report = exchange.import_labels(
        path,
        store.folder,
        store.records,
        task,
        label_column,
        text_column,
        id_column,
        annotator_column,
        annotator,
        store.labels,
        _renames(rename or []),
    )
    print("\n".join(exchange.describe(report)))


def _renames(pairs: list[str]) -> dict[str, str]:
    split: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise UserError(f"--rename {pair!r} must be OLD=NEW, such as 1.0=yes.")
        split[old] = new
    return split


@app.command()
def adjudicate(
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    field: Field = "",
    list_: Annotated[bool, typer.Option("--list", help="print them; settling them is the panel's work")] = False,
) -> None:
    """List the records on which annotators differ and nobody has decided yet, most contested first."""
    from helpers.labels.decisions import disagreements

    if not list_:
        raise UserError("`ambo labels adjudicate` prints with --list; decisions are taken in the adjudication panel.")
    store = open_store(task, run_id, folder)
    found = disagreements(store.read(), store.records, field or None)
    print(f"records to settle: {len(found)}")
    for row in found:
        said = ", ".join(f"{name}: {_word(label, field)}" for name, label in row["labels"].items())
        print(f"\n{row['id']}  {said}\n  {' '.join(row['text'].split())[:150]}")
        for name, note in row["notes"].items():
            print(f"  {name} notes: {note}")


def _word(label: Any, field: str) -> str:
    from helpers.labels.agreement import comparable

    return comparable(label, field or None) or "–"
