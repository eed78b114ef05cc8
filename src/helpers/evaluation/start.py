"""What the start page shows: the pipeline, the runs, a detector's answer; all text is escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup

from helpers import env
from helpers.evaluation.report import highlight
from helpers.italian.cues import Cue


def pipeline_picture() -> Markup:
    """The phases as an SVG, at most 640 pixels wide, in the ink of the page, light or dark."""
    return Markup(Path(__file__).with_name("pipeline.svg").read_text(encoding="utf-8"))


def runs_table(stages: pd.DataFrame) -> pd.DataFrame:
    """One row a run of `runs.list_stages`, with links relative to `notebooks/`."""
    rows = []
    for (task, name), part in stages.groupby(["task", "run"], sort=False):
        lines = [_stage_line(row.folder, row.stage, row.status) for row in part.itertuples()]
        links = [_link(path, "report") for folder in part.folder for path in folder.glob("report.html")]
        task, name = (Markup("<span>{}</span>").format(word) for word in (task, name))  # a name stays as it is written
        updated = f"{part.updated.max():%Y-%m-%d %H:%M}"
        rows.append([task, name, Markup("<br>").join(lines), updated, Markup("<br>").join(links) or "–"])
    columns = ["task", "run", "stages", "updated", "report"]
    return pd.DataFrame(rows, columns=columns, dtype=object)  # as text columns, pandas would drop the markup


def _stage_line(folder: Path, stage: str, status: str) -> Markup:
    """Name of a stage and its status, with a link to its notebook if it was executed by a run."""
    notebook, name = folder / f"{stage}.ipynb", stage.replace("_", " ")
    if notebook.exists():
        name = _link(notebook, name)
    return Markup("{}: {}").format(name, status.replace("_", " "))


def _link(path: Path, text: str) -> Markup:
    """Link to a file, relative to the folder of the notebooks."""
    address = Path(os.path.relpath(path, env.root() / "notebooks")).as_posix()
    return Markup('<a href="{}">{}</a>').format(quote(address), text)


def answer_html(
    sentence: str, labels: Sequence[str], probabilities: np.ndarray, cues: Sequence[Cue] | None, note: str
) -> Markup:
    """Write what a detector says of a sentence, with the cues marked and a note in small print.

    `labels` has the classes in the order of `probabilities` (classes,); `cues` is None for a language
    without a lexicon.
    """
    best = int(np.argmax(probabilities))
    share = probabilities[best]
    confidence = "above 99%" if share > 0.99 else f"{share:.0%}"  # no detector is certain
    spans = [(cue.start, cue.end) for cue in cues or []]
    answer = Markup("<p><b>{}</b>, confidence {}</p><p>{}</p>").format(
        labels[best].replace("_", " "), confidence, highlight(sentence, spans)
    )
    if cues:
        reasons = "; ".join(f"“{cue.text}” ({cue.category.replace('_', ' ')})" for cue in cues)
        answer += Markup("<p>Cues that the lexicon finds by rule: {}.</p>").format(reasons)
    elif cues is not None:
        answer += Markup("<p>The lexicon finds no cue.</p>")
    return answer + Markup("<p><small>{}</small></p>").format(note)
