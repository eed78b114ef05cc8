"""The embedded data: Italian job ads to classify and to rewrite, and counter-narratives in English.

Files in `italian_jobs/`: `pool.jsonl` (without labels), `pool_labels.jsonl` (for the simulated annotator only),
`gold.jsonl` (validation and test; some occupations occur in the test rows only), `whole_ads.jsonl` (a second test set, by
another author), `sentences.jsonl` (see `sentences`), `rewrites.jsonl` (sentences with their inclusive wording),
`learning_curves.csv` (macro-F1 of the embedded base by number of labels, five seeds, of the benchmark
`active_learning_qlora`). In `counter_narratives/`: `pairs.csv`.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd

from helpers import edits, env
from helpers.env import UserError
from helpers.files import read_jsonl, read_text
from helpers.italian import ads
from helpers.italian.addressees import EVERYONE, SCOPES, WORKPLACE

PREFIX = "embedded:"
DATA = Path(__file__).parent
FOLDER = DATA / "italian_jobs"
CURVES = FOLDER / "learning_curves.csv"
BASE = "embedded:italian_jobs/base_model"
JOB_ADS, REWRITES, COUNTER_NARRATIVES = "embedded:italian_jobs", "embedded:rewrites", "embedded:counter_narratives"
COLUMNS = [
    "text", "label", "category", "gender_form", "addressee", "occupation", "sector", "occupation_seen", "spans", "kinds",
    "source", "split",
]  # fmt: skip


def pool_texts() -> list[dict]:
    """Rows of the written pool without labels: id, text, occupation, sector."""
    return read_jsonl(FOLDER / "pool.jsonl")


def labelled_pool() -> list[dict]:
    """Rows of the written pool with label, category, gender form and spans: for a simulated annotator only.

    Label and category are those of guideline 1, which counts everybody; `in_scope` gives those of guideline 2. A span is
    [start, end, addressee], here and in `gold`.
    """
    labels = {r["id"]: r for r in read_jsonl(FOLDER / "pool_labels.jsonl")}
    return [r | labels[r["id"]] for r in pool_texts()]


def gold() -> list[dict]:
    """Hand-written evaluation rows with label, category, severity, spans, hard_case, rationale and split."""
    return read_jsonl(FOLDER / "gold.jsonl") + read_jsonl(FOLDER / "whole_ads.jsonl")


def sentences(split: str) -> list[dict]:
    """Sentences of a third hand, in the sections of real ads, half of them without a person: `rules` or `test_sentences`.

    The rules of `italian` were mended on the former; nothing has seen the latter.
    """
    return [row for row in read_jsonl(FOLDER / "sentences.jsonl") if row["split"] == split]


def in_scope(row: dict, scope: str) -> dict:
    """A row with the label, evidence ([start, end]) and `kinds` of exclusion of the people in a scope.

    `addressee` says whom its forms are about.
    """
    who = {addressee for *_, addressee in row["spans"]}
    spans = [[start, end] for start, end, addressee in row["spans"] if addressee in SCOPES[scope]]
    row = row | {"spans": spans, "addressee": who.pop() if len(who) == 1 else "several" if who else "nobody"}
    if row["label"] == "inclusive" or spans:
        return row if row["label"] == "inclusive" else row | {"kinds": [row["category"]]}
    return row | {"label": "inclusive", "category": "inclusive"}


def rewrites(scope: str = EVERYONE) -> list[dict]:
    """Sentences of job ads with their inclusive wording for the people in a scope in `target`, which may be the text itself."""
    return [_rewrite_in_scope(row, scope) for row in read_jsonl(FOLDER / "rewrites.jsonl")]


def _rewrite_in_scope(row: dict, scope: str) -> dict:
    """A pair without the edits that are about nobody in the scope."""
    about = {(start, end): addressee for start, end, addressee in row.pop("spans")}
    changes = edits.spans(row["text"], row["target"])
    kept = [change for change in changes if about[change[:2]] in SCOPES[scope]]
    if not changes or kept:
        return row | {"target": edits.apply(row["text"], kept)}
    return row | {"target": row["text"], "category": "inclusive"}


def counter_narratives() -> list[dict]:
    """Prejudiced statements with an answer: HATE_SPEECH, COUNTER_NARRATIVE, TARGET (Fanton et al. 2021), split."""
    return pd.read_csv(DATA / "counter_narratives" / "pairs.csv", dtype=str, keep_default_na=False).to_dict("records")


def job_ads_table(generated: int, seed: int = 0, scope: str = WORKPLACE) -> pd.DataFrame:
    """Every row of the job-ad task (columns: COLUMNS); `generated` pool rows come from the ad generator."""
    rows = [r | {"source": "written", "split": "pool"} for r in labelled_pool()]
    rows += [r | {"source": "generated", "split": "pool"} for r in islice(ads.generate(generated, seed), generated)]
    rows += [r | {"source": "gold"} for r in [*gold(), *sentences("test_sentences")]]
    return pd.DataFrame([in_scope(row, scope) for row in rows]).reindex(columns=COLUMNS)


def read_embedded(path: str, generated: int = 0, seed: int = 0, scope: str = WORKPLACE) -> pd.DataFrame:
    """Rows of the embedded set that `data_path` names; raises UserError when there is no such set."""
    if path == JOB_ADS:
        return job_ads_table(generated, seed, scope)
    readers = {REWRITES: partial(rewrites, scope), COUNTER_NARRATIVES: counter_narratives}
    if path not in readers:
        raise UserError(f"data_path {path!r} is not embedded: choose one of {', '.join(sorted([JOB_ADS, *readers]))}.")
    return pd.DataFrame(readers[path]())


def embedded_file(path: str) -> Path:
    """The file or folder that a parameter names: in this package after `embedded:`, otherwise the user's."""
    return DATA / path.removeprefix(PREFIX) if path.startswith(PREFIX) else env.resolve(path)


def read_guideline(path: str) -> str:
    """The text of an annotation guideline: a file, `embedded:italian_jobs/GUIDELINE.md`, or '' for none."""
    if not path:
        return ""
    try:
        return read_text(embedded_file(path))
    except (OSError, ValueError) as error:
        message = f"Parameter guideline={path!r} is not a text file that can be read: correct the path."
        raise UserError(message) from error


def licence(path: str) -> Path | None:
    """The licence of the embedded set that `data_path` names; None for the user's data."""
    folder = DATA / ("counter_narratives" if path == COUNTER_NARRATIVES else "italian_jobs")
    return folder / "LICENSE" if path.startswith(PREFIX) else None
