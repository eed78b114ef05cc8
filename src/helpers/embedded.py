"""The embedded data: Italian job ads to classify and to rewrite, and counter-narratives in English.

Files in `italian_jobs/`: `pool.jsonl` (unlabelled), `pool_labels.jsonl` (for the simulated annotator only), `gold.jsonl`
(validation and test; whole occupations stand in test alone), `whole_ads.jsonl` (a second test set, by another hand),
`rewrites.jsonl` (sentences with their inclusive wording). File in `counter_narratives/`: `pairs.csv`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from helpers import italian_requirements, job_ads
from helpers.answers import SCHEMA_LINE, numbered
from helpers.data import COUNTER_NARRATIVES, EMBEDDED, REWRITES
from helpers.env import UserError
from helpers.run import read_jsonl

FOLDER = Path(__file__).parent / "italian_jobs"
PAIRS = Path(__file__).parent / "counter_narratives" / "pairs.csv"
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


CONDITIONS = "Condizioni: "  # opens the line of a prompt that states the wanted answer in JSON


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


def rewrites() -> list[dict]:
    """Sentences of job ads with their inclusive wording in `target`, the text itself where nothing is to change."""
    return read_jsonl(FOLDER / "rewrites.jsonl")


def counter_narratives() -> list[dict]:
    """Prejudiced statements with an answer: HATE_SPEECH, COUNTER_NARRATIVE, TARGET (Fanton et al. 2021), and split."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(generated: int, seed: int = 0) -> pd.DataFrame:
    """Every row of the embedded task, with `generated` generated rows in the pool; see COLUMNS."""
    rows = [r | {"source": "written", "split": "pool"} for r in labelled_pool()]
    rows += [r | {"source": "generated", "split": "pool"} for r in islice(job_ads.generate(generated, seed), generated)]
    rows += [r | {"source": "gold"} for r in gold()]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def read(path: str, generated: int = 0, seed: int = 0) -> pd.DataFrame:
    """Rows of the embedded set that `data_path` names; raises UserError on an unknown one."""
    sets = {EMBEDDED: lambda: table(generated, seed), REWRITES: rewrites, COUNTER_NARRATIVES: counter_narratives}
    if path not in sets:
        raise UserError(f"data_path {path!r} is not embedded: choose one of {', '.join(sets)}.")
    return pd.DataFrame(sets[path]())


# --- the generator as a teacher --------------------------------------------------------------------------------------


def conditions(prompt: str) -> dict:
    """The JSON object on the last line of a prompt that opens with CONDITIONS; empty without a valid one."""
    found = re.findall(rf"^{CONDITIONS}(\{{.*\}}) *$", prompt, re.MULTILINE)
    try:
        return json.loads(found[-1]) if found else {}
    except ValueError:
        return {}


def write(prompts: Sequence[str], seed: int = 0) -> list[str]:
    """What the embedded generator answers, for `teacher.Local`; an empty text where it has no answer.

    It reads only the CONDITIONS of a prompt: {"text": …} asks for the inclusive rewording of a text, anything else for an ad whose
    columns (label, category, gender_form, occupation, sector, register, length) have these values. A prompt that asks for JSON gets
    the columns as an object.
    """
    asked = [json.dumps(conditions(prompt), sort_keys=True) for prompt in prompts]
    rows = [_made(json.loads(wanted), f"{seed} {draw} {wanted}") for wanted, draw in numbered(asked)]
    return [_as_asked(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]


def _made(wanted: dict, seed: str) -> dict | None:
    if isinstance(wanted.get("text"), str):
        return {"text": italian_requirements.inclusive(wanted["text"])}
    return job_ads.commissioned(wanted, seed) if wanted else None


def _as_asked(prompt: str, row: dict | None) -> str:
    if row is None:
        return ""
    return json.dumps(row, ensure_ascii=False) if SCHEMA_LINE in prompt else row["text"]
