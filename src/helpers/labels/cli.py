"""`ambo labels`: agreement of the annotators, export, import, and what needs an adjudicator."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from helpers import env, files, outputs, pipeline, run
from helpers.env import UserError
from helpers.labels import agreement, counting, decisions, exchange, log
from helpers.manifest import read_facts
from helpers.text import plural, say

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Task = Annotated[str, typer.Option(help="a file name in params/tasks")]
RunId = Annotated[str, typer.Option(help="name of the run")]
Folder = Annotated[str, typer.Option(help="folder with the logs; without it those of the run's people, in 01 and 03")]
WIDEST = 8  # annotators whose matrix still fits a terminal


@dataclass
class Store:
    """Folders of logs, and the records and task that their labels belong to.

    What is imported goes to the first folder, but for the records that 01 asks people about, whose answers stand in the last.
    """

    folders: list[Path]
    records: list[dict]
    labels: list[str]
    groups: list[str]
    readers: counting.Readers

    def read(self) -> dict[str, dict[str, dict]]:
        """The state of the logs, with a note on stderr for whatever does not fit the run or the task."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state = log.annotations(log.events(*self.folders))
        for warning in caught:
            _note(str(warning.message))
        if not state:
            place = os.path.commonpath(self.folders)
            raise UserError(f"{place} holds no labels: label first, or name another folder with --folder.")
        if missing := log.unmatched(state, [row["id"] for row in self.records]):
            remedy = "they stay in the logs and count again where their texts come back into the table"
            _note(f"labelled records that are not among the run's: {len(missing)} (first: {missing[0]}); {remedy}.")
        if self.labels and (unknown := log.outside(state, self.labels)):  # a generation task has no labels
            counts = ", ".join(f"{label!r} {count}×" for label, count in list(unknown.items())[:5])
            _note(f"the logs have labels that the task does not have: {counts}.")
            try:
                with warnings.catch_warnings(action="ignore"):  # they are noted above
                    for folder in self.folders:
                        exchange.refuse_outside(folder, self.labels, {row["id"] for row in self.records})
            except UserError as error:
                _note(f"03 would stop at {error}")
        return state


def _note(sentence: str) -> None:
    say(f"note: {sentence}", file=sys.stderr)


def open_store(task: str, run_id: str, folder: str = "") -> Store:
    """The logs of a run, its records (of 01 and 02) and its task; raises UserError when 01 has not run."""
    home = outputs.run_folder(task, run_id)
    first = home / pipeline.STAGES["01"]
    manifest = run.read_manifest(first)
    if manifest is None or not (first / "task.json").exists():
        raise UserError(
            f"{first} is missing: run `ambo run --task {task} --run-id {run_id} …` first, or check the names."
        )
    facts = _task_facts(first / "task.json")
    stages = {number: home / name for number, name in pipeline.notebooks(facts.get("kind", "classification")).items()}
    stages.setdefault("02", home / pipeline.STAGES["02"])  # a generation task has none
    records: dict[str, dict] = {}
    ids: dict[str, set[str]] = {"own": set(), "pool": set()}  # `own`: of seed and evaluation sets
    for path in [*sorted(first.glob("*.jsonl")), stages["02"] / "synthetic.jsonl"]:
        if path.exists():
            rows = {row["id"]: row for row in _rows(path)}
            records |= rows
            if path.parent == first:
                ids["pool" if path.name == "pool.jsonl" else "own"] |= rows.keys()
    if (first / "asked.json").exists():
        asked = _asked(first / "asked.json")
    else:  # of an older run
        with warnings.catch_warnings(action="ignore"):  # of lines that cannot be read 01 tells
            asked = set().union(*log.annotations(first / "labels").values())
    asked &= ids["own"]
    human = stages["03"] / "labels" / "human"
    logs = [env.resolve(folder)] if folder else [human, first / "labels"]
    labels = [] if pipeline.STAGES["02"] in logs[0].parts else facts["labels"]  # there people answer with texts
    params = manifest["parameters"]
    loop = params | (read_facts(stages["03"] / "manifest.json").get("parameters") or {})
    return Store(
        logs,
        list(records.values()),
        labels,
        groups=params.get("group_columns", []),
        readers=counting.Readers(
            stages,
            asked,
            given=ids["own"] - asked,
            pool=ids["pool"],
            labeller=loop.get("labeller", "human"),
            strategy=loop.get("strategy", ""),
        ),
    )


def _rows(path: Path) -> list[dict]:
    """The rows with a text; raises UserError where one of them is no record."""
    rows = [row for row in files.read_jsonl(path) if "text" in row]
    if not all(isinstance(row.get(name), str) for row in rows for name in ("id", "text")):
        stage = path.parent.name
        raise UserError(f"{path} is damaged (a row without id and text): run {stage} again, or restore it.")
    return rows


def _asked(path: Path) -> set[str]:
    ids = files.read_json(path)
    if not isinstance(ids, list) or not all(isinstance(record_id, str) for record_id in ids):
        raise UserError(f"{path} is damaged (no list of ids): run {pipeline.STAGES['01']} again, or restore it.")
    return set(ids)


def _task_facts(path: Path) -> dict:
    facts = files.read_json(path)
    labels = facts.get("labels") if isinstance(facts, dict) else None
    is_task = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not is_task or not isinstance(facts.get("kind", ""), str):
        raise UserError(f"{path} is damaged (no list of labels): run 01_seed_curation again, or restore it.")
    return facts


@app.command("agreement")
def show_agreement(
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    order: Annotated[str, typer.Option(help="labels from lowest to highest, comma-separated, for ordinal α")] = "",
) -> None:
    """How far the annotators agree: α overall, per label and per group, κ of every two, each with themselves."""
    store = open_store(task, run_id, folder)
    if not store.labels:
        remedy = "`ambo labels adjudicate --list` shows where they differ"
        raise UserError(f"{store.folders[0]}: people answer with texts there, and agreement is on classes: {remedy}.")
    state = store.read()
    classes = [label.strip() for label in order.split(",")] if order else None
    rows = agreement.summary(state, store.records, store.groups, classes)
    say(_plain(rows[rows["measure"] != "kappa"]))
    pairs = agreement.kappas(agreement.table(state))
    if len(pairs) and len(state) <= WIDEST:
        kappa, shared = agreement.matrix(pairs), agreement.matrix(pairs, "n")
        say("\nCohen's κ (records labelled by both)\n")
        say(kappa.combine(shared, lambda one, other: one.combine(other, _pair)).to_string())
    elif len(pairs):
        say("\nCohen's κ, the ten pairs with most records in common\n")
        say(_plain(pairs.sort_values("n", ascending=False, kind="stable").head(10)))


def _pair(kappa: float, shared: float) -> str:
    """A cell of the matrix; the diagonal is empty."""
    if shared != shared:
        return ""
    return f"{kappa:.2f} ({shared:.0f})" if kappa == kappa else f"– ({shared:.0f})"


def _plain(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="%.3f", na_rep="–")


@app.command("export")
def export_command(
    task: Task,
    run_id: RunId,
    to: Annotated[str, typer.Option(help="a .csv, .tsv, .jsonl or .parquet file to write")],
    folder: Folder = "",
    history: Annotated[bool, typer.Option("--history", help="one row an event instead of one a record")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="in a .csv, no apostrophe before what looks like a formula")
    ] = False,
) -> None:
    """Write the labels of 01 and 03 to a table: one row a record with everyone's label, or every event with --history."""
    store = open_store(task, run_id, folder)
    outputs.refuse_loss(env.resolve(to), "--to")
    if env.resolve(to).resolve().parent in [place.resolve() for place in store.folders]:
        raise UserError(f"--to {to} lies among the logs of the labels: name another place.")
    store.read()
    with warnings.catch_warnings(action="ignore"):  # `read` has noted them
        rows = log.events(*store.folders)
    table = exchange.export(
        rows, env.resolve(to), store.records, final=not history, raw=raw, has_classes=bool(store.labels)
    )
    reviews = outputs.run_folder(task, run_id) / pipeline.STAGES["02"] / "labels"
    if not folder and any(reviews.glob("*.jsonl")):
        _note(f"what people said of synthetic rows is left out: --folder {env.short_path(reviews)} exports it.")
    own = store.folders[0].with_name("model")
    if not folder and any(own.glob("*.jsonl")):
        _note(f"what the model labelled itself is left out: --folder {env.short_path(own)} exports it.")
    say(f"{to}: {plural(len(table), 'event' if history else 'row')} written")


@app.command("import")
def import_command(
    path: Annotated[str, typer.Argument(help="a .csv, .tsv, .jsonl, .parquet or .xlsx file with labels")],
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    label_column: Annotated[str, typer.Option(help="column with the label")] = "label",
    text_column: Annotated[str, typer.Option(help="column with the text, by which rows find their record")] = "text",
    id_column: Annotated[
        str, typer.Option(help="column with ids, ours or those of the data, instead of the text")
    ] = "",
    annotator_column: Annotated[str, typer.Option(help="column that says who labelled")] = "",
    annotator: Annotated[
        str, typer.Option(help=f"who labelled, where no column says so; by default the name {exchange.UNNAMED}")
    ] = "",
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW renames a label of the file; repeat it")] = None,
) -> None:
    """Write labels that somebody already has into the logs, and say which rows do not fit."""
    env.refuse_other_folder(path)
    mapping = _renames(rename or [])
    if not env.resolve(path).exists():  # the reader would speak of data_path and of the hub
        raise UserError(f"{path} is not a file (looked for {env.resolve(path)}): check the path.")
    store = open_store(task, run_id, folder)
    report = exchange.import_labels(
        path,
        store.folders[0],
        store.records,
        task,
        label_column=label_column,
        text_column=text_column,
        id_column=id_column,
        annotator_column=annotator_column,
        annotator=annotator or exchange.UNNAMED,
        task_labels=store.labels,
        mapping=mapping,
        elsewhere={} if folder else dict.fromkeys(store.readers.asked, store.folders[-1]),
    )
    for remark in report["remarks"]:
        _note(remark)
    if report["taken"] and not (annotator or annotator_column):
        remedy = "--annotator NAME names a person, --annotator-column COLUMN those of a column"
        _note(f"nobody is named who labelled, so the labels are those of {exchange.UNNAMED!r}: {remedy}.")
    lines, notes = counting.what_counts(store.readers, report["written"])
    say("\n".join([*exchange.describe(report), *lines]))
    for sentence in notes:
        _note(sentence)


def _renames(pairs: list[str]) -> dict[str, str]:
    renames: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise UserError(f"--rename {pair!r} must be OLD=NEW, such as 1.0=yes.")
        renames[old] = new
    return renames


@app.command()
def adjudicate(
    task: Task,
    run_id: RunId,
    folder: Folder = "",
    list_: Annotated[bool, typer.Option("--list", help="print them; the adjudication panel settles them")] = False,
) -> None:
    """List the records on which annotators differ and no adjudicator has decided, most contested first."""
    if not list_:
        raise UserError("`ambo labels adjudicate` prints with --list; decisions are taken in the adjudication panel.")
    store = open_store(task, run_id, folder)
    rows = decisions.disagreements(store.read(), store.records)
    say(f"records to settle: {len(rows)}")
    for row in rows:
        labels = ", ".join(f"{name}: {label or '–'}" for name, label in row["labels"].items())
        say(f"\n{row['id']}  {labels}")
        say(f"  {' '.join(row['text'].split())[:150]}")
        for name, note in row["notes"].items():
            say(f"  {name} notes: {note}")
    stage = store.folders[0].parents[1]  # …/03_…/labels/human
    if rows and (page := outputs.executed(stage)).exists():
        how = "a panel asks for each"
        if stage.name in pipeline.GENERATION.values():  # two good targets are no dispute that a third person decides
            how = "correct in its panel what one of them wrote"
        say(f"\nTo settle them, open {env.short_path(page)} in JupyterLab and run all its cells: {how}.")
