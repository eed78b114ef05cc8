"""The runs under `outputs/`: where each stage stands, and which detector is the latest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import env, files, pipeline
from helpers.env import UserError
from helpers.manifest import read_facts, read_manifest
from helpers.run import refuse_changed_adapter

MOST = 5  # runs that an error names


class Detector(NamedTuple):
    """A detector: its task and run, the folder of its adapter, the language of its texts."""

    task: str
    run: str
    adapter: Path
    language: str


def list_stages(task: str = "") -> pd.DataFrame:
    """One row a stage of every run, or of every run of one task, the latest run first.

    The status is that of the manifest, `cut off` if the stage is marked as running but no process
    holds it, or `damaged`; `updated` is in local time.
    """
    rows = []
    for path in (env.root() / "outputs").glob(f"{task or '*'}/*/*/manifest.json"):
        folder = path.parent
        updated = datetime.fromtimestamp(path.stat().st_mtime)
        rows.append([*folder.parts[-3:], pipeline.stage_status(folder), updated, folder])
    columns = ["task", "run", "stage", "status", "updated", "folder"]
    table = pd.DataFrame(rows, columns=columns).sort_values(["task", "run", "stage"])
    age = -table.groupby(["task", "run"])["updated"].transform("max").astype("int64")
    return table.iloc[age.argsort(kind="stable")].reset_index(drop=True)


def finished_runs(task: str, stage: str, names: Sequence[str] = ()) -> tuple[list[Path], dict[str, str]]:
    """Folders of the runs whose `stage`, such as `03`, has ended well, the latest first, and name → status of the rest.

    `names` are the runs asked for; by default every run of the task that has begun. Raises UserError
    where one of them does not exist.
    """
    table = list_stages(task)
    table = table[table.stage.str.match(r"0[1-4]_")]  # a comparison is no run
    for name in names:
        if name not in set(table.run):
            raise UserError(f"There is no run {name!r} of {task}: `ambo status` lists the runs.")
    folders, unfinished = [], {}
    for name, part in table.groupby("run", sort=False):
        if names and name not in names:
            continue
        own = part[part.stage.str[:2] == stage]
        status = f"{stage} has not been run" if own.empty else own.status.iloc[0]
        if status == "success":
            place = own.folder.iloc[0]
            status = pipeline.no_longer_counts(place) or status
        if status == "success":
            folders.append(part.folder.iloc[0].parent)
        else:
            unfinished[name] = status.replace("_", " ")
    return folders, unfinished


def tasks_with(stage: str) -> list[str]:
    """The tasks of which a run has finished `stage`, such as `03`."""
    table = list_stages()
    return sorted(set(table.task[table.stage.str.startswith(f"{stage}_") & (table.status == "success")]))


def latest_detector(
    task: str = "", run_id: str = "", stages: Sequence[str] = (pipeline.STAGES["03"],)
) -> Detector | None:
    """The detector that a finished 03 trained last, of one task and run or of all, or None.

    With both notebooks 03 in `stages` it may be a model that writes.
    """
    table = list_stages(task)
    table = table[table.stage.isin(stages) & (table.status == "success")]
    if run_id:
        table = table[table.run == run_id]
    for row in table.sort_values("updated", ascending=False).itertuples():
        adapter = row.folder / "adapter"
        if (adapter / "learner.json").exists():
            refuse_changed_adapter(row.folder)
            parameters = read_manifest(row.folder).get("parameters", {})
            return Detector(row.task, row.run, adapter, parameters.get("language", ""))
    return None


def due_remarks(detector: Detector) -> list[str]:
    """Sentences on foreign cells and other code behind a model, and on its stage that is due again, as after a correction."""
    stage = detector.adapter.parent
    remarks = pipeline.lineage_remarks(stage)
    if reason := pipeline.no_longer_counts(stage):
        remarks.append(f"{stage.name} of run {detector.run} is due again ({reason}); this is its model of before.")
    return remarks


def evaluation(detector: Detector, kind: str) -> tuple[Path, str]:
    """The folder of a model's 04, and why its tables say nothing of this adapter ('' where they do)."""
    folder = detector.adapter.parent.parent / pipeline.KINDS[kind]["04"]
    if not (folder / "manifest.json").exists() or pipeline.stage_status(folder) != "success":
        return folder, f"{folder.name} has not finished for this run"
    manifest = read_manifest(folder)
    if reason := pipeline.why_due(folder, manifest["parameters"]):
        return folder, f"what {folder.name} measured no longer counts ({reason}); run it again"
    measured = [sha for name, sha in manifest["inputs"].items() if Path(name).name == "adapter"]
    if files.sha256(detector.adapter) not in measured:
        return folder, f"{folder.name} has measured another adapter than this one"
    return folder, ""


def verdict(detector: Detector) -> str:
    """What 04 says of the use of a detector, or why it says nothing."""
    folder, missing = evaluation(detector, "classification")
    if missing:
        return f"How good it is was not measured: {missing}."
    said = read_manifest(folder).get("verdict", "")
    return f"04 says of its use: {said}" if said else ""


def class_names(folder: Path) -> tuple[list[str], list[str]]:
    """The classes of the run in `folder`, and what people read for each as its latest stage has it; [] for as they are."""
    labels = read_facts(folder / pipeline.STAGES["01"] / "task.json").get("labels") or []
    for number in ("04", "03", "01"):
        parameters = read_facts(folder / pipeline.STAGES[number] / "manifest.json").get("parameters") or {}
        names = parameters.get("label_names") or []
        if names and len(names) == len(labels):
            return labels, names
    return labels, []


def require_detector(task: str = "", run_id: str = "", stages: Sequence[str] = (pipeline.STAGES["03"],)) -> Detector:
    """As `latest_detector`; raises UserError where there is none."""
    if detector := latest_detector(task, run_id, stages):
        return detector
    what = " ".join(filter(None, [task and f"of task {task!r}", run_id and f"with run id {run_id!r}"]))
    table = list_stages()
    table = table[table.stage.isin(stages) & (table.status == "success")]
    asked = [row.folder for row in table.itertuples() if run_id in ("", row.run) and task in ("", row.task)]
    if asked:  # they have finished, and what they trained is gone
        remedy = "give the `ambo run` command of the run again"
        raise UserError(f"{asked[0] / 'adapter'} has lost its learner.json: {remedy}.")
    finished = [f"--task {row.task} --run-id {row.run}" for row in table.itertuples()]
    remedy = "train a model first (`ambo demo`)"
    if finished:
        remedy = f"choose {' or '.join(finished[:MOST])}{', …' if len(finished) > MOST else ''}"
    raise UserError(f"No run {what or 'here'} has finished {' or '.join(stages)}: {remedy}.")
