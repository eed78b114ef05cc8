"""The runs under `outputs/`: where each stage stands, and which detector is the latest."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import env, run
from helpers.env import UserError


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
        rows.append([*folder.parts[-3:], run.stage_status(folder), updated, folder])
    columns = ["task", "run", "stage", "status", "updated", "folder"]
    table = pd.DataFrame(rows, columns=columns).sort_values(["task", "run", "stage"])
    age = -table.groupby(["task", "run"])["updated"].transform("max").astype("int64")
    return table.iloc[age.argsort(kind="stable")].reset_index(drop=True)


def latest_detector(task: str = "", run_id: str = "") -> Detector | None:
    """The detector that a finished 03 trained last, of one task and run or of all, or None."""
    stages = list_stages(task)
    stages = stages[(stages.stage == run.STAGES["03"]) & (stages.status == "success")]
    if run_id:
        stages = stages[stages.run == run_id]
    for row in stages.sort_values("updated", ascending=False).itertuples():
        adapter = row.folder / "adapter"
        if (adapter / "learner.json").exists():
            parameters = run.read_manifest(row.folder).get("parameters", {})
            return Detector(row.task, row.run, adapter, parameters.get("language", ""))
    return None


def require_detector(task: str = "", run_id: str = "") -> Detector:
    """As `latest_detector`; raises UserError where there is none."""
    if detector := latest_detector(task, run_id):
        return detector
    what = " ".join(filter(None, [task and f"of task {task!r}", run_id and f"in run {run_id!r}"]))
    raise UserError(f"No run {what or 'here'} has finished 03_active_learning: train a detector first (`ambo demo`).")
