"""What the start page shows: the pipeline, the runs, a detector's answer; all text is escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from helpers import env
from helpers.evaluation.report import highlight
from helpers.italian.cues import Cue

PHASES = [
    ("Your texts", "a table, with or", "without labels"),
    ("01 Seed curation", "which texts to", "label first"),
    ("02 Synthetic expansion", "new rows where", "the seed has few"),
    ("03 Active learning", "people label the texts", "that teach most"),
    ("04 Bias evaluation", "how good it is, and", "whom it fails"),
    ("05 Compare runs", "which strategy needs", "the fewest labels"),
]
# Two rows of three boxes, 170 wide and 80 high, with 22 between them; an arrow from each box to the next.
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The phases, in order"
 font-family="sans-serif" viewBox="0 0 556 206"
 style="width: 100%; max-width: 640px">
<defs><marker id="ambo-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
 orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>
{% for title, first, second in phases -%}
<g transform="translate({{ 1 + loop.index0 % 3 * 192 }} {{ 1 + loop.index0 // 3 * 124 }})">
<rect width="170" height="80" rx="8" fill="#2b7bba22" stroke="#2b7bba"/>
<g text-anchor="middle" font-size="13" fill="currentColor">
<text x="85.0" y="25" font-weight="bold" font-size="12">{{ title }}</text>
<text x="85.0" y="47">{{ first }}</text>
<text x="85.0" y="64">{{ second }}</text>
</g></g>
{% endfor %}<g fill="none" stroke="currentColor" stroke-width="1.5">
{% for path in ("M171 41H191", "M363 41H383", "M470 81v22H86V123", "M171 165H191", "M363 165H383") -%}
<path d="{{ path }}" marker-end="url(#ambo-head)"/>{% endfor %}
</g></svg>"""


def pipeline_picture() -> Markup:
    """Draw the phases as an SVG, at most 640 pixels wide, in the ink of the page, light or dark."""
    return Markup(jinja2.Environment(autoescape=True).from_string(PICTURE).render(phases=PHASES))


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
