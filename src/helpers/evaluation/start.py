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
REPORTS = ["04_bias_evaluation", "04_generation_evaluation"]
WIDTH, HEIGHT, GAP = 170, 80, 22  # of a box, and between two boxes, in units of the picture
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The phases, in order"
 font-family="sans-serif" viewBox="0 0 {{ right }} {{ bottom }}"
 style="width: 100%; max-width: 640px">
<defs><marker id="ambo-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
 orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>
{% for x, y, title, first, second in boxes %}<g transform="translate({{ x }} {{ y }})">
<rect width="{{ width }}" height="{{ height }}" rx="8" fill="#2b7bba22" stroke="#2b7bba"/>
<g text-anchor="middle" font-size="13" fill="currentColor">
<text x="{{ width / 2 }}" y="25" font-weight="bold" font-size="12">{{ title }}</text>
<text x="{{ width / 2 }}" y="47">{{ first }}</text>
<text x="{{ width / 2 }}" y="64">{{ second }}</text>
</g></g>
{% endfor %}<g fill="none" stroke="currentColor" stroke-width="1.5">
{% for path in arrows %}<path d="{{ path }}" marker-end="url(#ambo-head)"/>{% endfor %}
</g></svg>"""


def pipeline_picture() -> Markup:
    """Draw the phases as an SVG, at most 640 pixels wide, in the ink of the page, light or dark."""
    corners = [_corner(place) for place in range(len(PHASES))]
    template = jinja2.Environment(autoescape=True).from_string(PICTURE)
    picture = template.render(
        boxes=[(*corner, *words) for corner, words in zip(corners, PHASES, strict=True)],
        arrows=[_arrow(*corners[i : i + 2]) for i in range(len(PHASES) - 1)],
        width=WIDTH,
        height=HEIGHT,
        right=corners[2][0] + WIDTH + 1,
        bottom=corners[-1][1] + HEIGHT + 1,
    )
    return Markup(picture)


def _corner(place: int) -> tuple[int, int]:
    """Upper left corner of a box; three boxes make a row."""
    row, column = divmod(place, 3)
    return 1 + column * (WIDTH + GAP), 1 + row * (HEIGHT + 2 * GAP)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Path from a box to the next one, which stands to its right or begins the next row."""
    (x, y), (next_x, next_y) = start, end
    if y == next_y:
        return f"M{x + WIDTH} {y + HEIGHT // 2}H{next_x - 2}"
    return f"M{x + WIDTH // 2} {y + HEIGHT}v{GAP}H{next_x + WIDTH // 2}V{next_y - 2}"


def runs_table(stages: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run, its links relative to `notebooks/`: task, run, stages, updated, report.

    Parameters
    ----------
    stages : DataFrame
        What `runs.list_stages` returns.
    """
    rows = []
    for (task, name), part in stages.groupby(["task", "run"], sort=False):
        lines = [_stage_line(row.folder, row.stage, row.status) for row in part.itertuples()]
        reports = [row.folder / "report.html" for row in part.itertuples() if row.stage in REPORTS]
        links = [_link(path, "report") for path in reports if path.exists()]
        row = {
            "task": Markup("<span>{}</span>").format(task),  # markup: a name stays as it is written
            "run": Markup("<span>{}</span>").format(name),
            "stages": Markup("<br>").join(lines),
            "updated": f"{part.updated.max():%Y-%m-%d %H:%M}",
            "report": Markup("<br>").join(links) or "–",
        }
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)  # as text columns, pandas would drop the markup


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
    sentence: str,
    labels: Sequence[str],
    probabilities: np.ndarray,
    cues: Sequence[Cue] | None,
    note: str,
) -> Markup:
    """Write what a detector says of a sentence, with the cues marked.

    Parameters
    ----------
    labels : sequence of str
        Classes in the order of `probabilities`.
    probabilities : float array (classes,)
    cues : sequence of Cue or None
        Cues of the lexicon in the sentence; None for a language without a lexicon.
    note : str
        A last line in small print.
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
