"""The embedded Italian job ads: gold rows, the written pool with its labels kept aside, and a second test set.

Files in `italian_jobs/`: `pool.jsonl` (unlabelled), `pool_labels.jsonl` (for the simulated annotator only), `gold.jsonl`
(validation and test; whole occupations stand in test alone), `whole_ads.jsonl` (a second test set, by another hand).
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pandas as pd

from helpers import job_ads
from helpers.run import read_jsonl

FOLDER = Path(__file__).parent / "italian_jobs"
COLUMNS = [
    "text",
    "label",
    "category",
    "gender_form",
    "occupation",
    "sector",
    "occupation_seen",
    "spans",
    "source",
    "split",
]


def written() -> list[dict]:
    """Rows of the written pool without labels: id, text, occupation, sector."""
    return read_jsonl(FOLDER / "pool.jsonl")


def pool_labels() -> list[dict]:
    """Label, category, gender form and spans of the written pool, by id: for a simulated annotator only."""
    return read_jsonl(FOLDER / "pool_labels.jsonl")


def labelled_pool() -> list[dict]:
    """Rows of the written pool with what `pool_labels` says of them."""
    labels = {r["id"]: r for r in pool_labels()}
    return [r | labels[r["id"]] for r in written()]


def gold() -> list[dict]:
    """Hand-written evaluation rows with label, category, severity, spans, hard_case, rationale and split."""
    return read_jsonl(FOLDER / "gold.jsonl") + read_jsonl(FOLDER / "whole_ads.jsonl")


def table(generated: int, seed: int = 0) -> pd.DataFrame:
    """Every row of the embedded task, with `generated` generated rows in the pool; see COLUMNS."""
    rows = [r | {"source": "written", "split": "pool"} for r in labelled_pool()]
    rows += [r | {"source": "generated", "split": "pool"} for r in islice(job_ads.generate(generated, seed), generated)]
    rows += [r | {"source": "gold"} for r in gold()]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)
