"""What the start page shows: the pipeline, the runs, a detector's answer; all text is escaped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from helpers import env, pipeline
from helpers.data.language import card_languages, surely_other
from helpers.env import UserError
from helpers.evaluation.report import TINY, confidence_name, highlight
from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues


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
    """Name of a stage and its status, with a link to its notebook if it was executed by a run; why it no longer counts."""
    notebook, name = folder / f"{stage}.ipynb", stage.replace("_", " ")
    if notebook.exists():
        name = _link(notebook, name)
    reason = pipeline.no_longer_counts(folder) if status == "success" else ""
    return Markup("{}: {}").format(name, f"no longer counts ({reason})" if reason else status.replace("_", " "))


def _link(path: Path, text: str) -> Markup:
    """Link to a file, relative to the folder of the notebooks."""
    address = Path(os.path.relpath(path, env.root() / "notebooks")).as_posix()
    return Markup('<a href="{}">{}</a>').format(quote(address), text)


def detector_box(sentence: str, load: Callable[[], tuple[Any, str, str]]):
    """A box to type a sentence in, and a button that asks a detector about it, as Enter does.

    Parameters
    ----------
    sentence : str
        What stands in the box at first.
    load : function
        Returns (a `core.detector.Detector`, language of its texts, note in small print); it is called at every press,
        and a UserError that it raises is shown.
    """
    import ipywidgets as widgets

    box = widgets.Text(value=sentence, placeholder="Type a sentence and press Enter", layout={"width": "auto"})
    button = widgets.Button(description="Ask the detector", button_style="primary")
    answer = widgets.HTML()

    def show_answer(_) -> None:
        answer.value = "<p>Reading …</p>"
        answer.value = answer_html(box.value, load)

    button.on_click(show_answer)
    box.on_msg(lambda _, content, __: content.get("event") == "submit" and show_answer(box))  # Enter
    return widgets.VBox([box, button, answer], layout={"max_width": "800px"})


def answer_html(text: str, load: Callable[[], tuple[Any, str, str]]) -> Markup:
    """What a detector says of a text and which words moved it, with the lexicon's cues, or a sentence that says what is missing.

    `load` is that of `detector_box`.
    """
    text = text.strip()
    if not text:
        return Markup("<p>Type a sentence first.</p>")
    try:
        detector, language, note = load()
    except UserError as error:
        return Markup("<p>{}</p>").format(error)
    except Exception as error:  # a button shows no traceback, so every failure becomes a sentence
        failure = "The detector could not be loaded ({}). Train it again under a new run_id."
        return Markup("<p>{}</p>").format(failure.format(error))
    learner, row = detector.learner, detector.predict([text]).iloc[0]
    words = detector.explain([text], [row.answer])[0]
    answer = Markup("<p><b>{}</b>, confidence {}</p><p>{}</p>").format(
        row.answer.replace("_", " "), confidence_name(row.confidence), highlight(text, words)
    )
    if kinds := row.get("kinds"):
        answer += Markup("<p>Kinds of exclusion that it sees: {}.</p>").format(
            kinds.replace("_", " ").replace("; ", ", ")
        )
    answer += Markup("<p>{}</p>").format("Coloured: the words that moved it." if words else "No word moved it alone.")
    cues = find_cues(text, EVERYONE) if language == "it" else None
    if cues:
        reasons = "; ".join(f"“{cue.text}” ({cue.category}, {cue.addressee})".replace("_", " ") for cue in cues)
        answer += Markup("<p>Cues that the lexicon finds by rule: {}.</p>").format(reasons)
    elif cues is not None:
        answer += Markup("<p>The lexicon finds no cue.</p>")
    reads = [language] if language else card_languages(learner.recipe.model)
    if other := surely_other(text, reads):
        remark = "The text seems to be in language {!r}, and the detector has learned from {}: its answer means little."
        answer += Markup("<p>{}</p>").format(remark.format(other, " and ".join(map(repr, reads[:5]))))
    note += f" {TINY}" if learner.is_embedded else ""
    return answer + Markup("<p><small>{}</small></p>").format(note)
