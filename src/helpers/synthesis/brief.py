"""Which texts to ask a teacher for: thin label × group cells, crossed with what a text of the task can be asked to be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import yaml

from helpers.data.embedded import embedded_file
from helpers.env import UserError
from helpers.italian import ads
from helpers.task import Task
from helpers.text import normalise


def thin_cells(records: list[dict], group: str, labels: Sequence[str], pool: Sequence[dict] = ()) -> pd.DataFrame:
    """Label × group cells with fewer rows than the mean cell, those with the rarest group in seed and pool first.

    Columns label, group, count, pool (rows of the unlabelled pool with that group), wanted. `group` '' makes one cell a label.
    """
    counts = Counter((r["label"], r.get(group, "")) for r in records)
    in_pool = Counter(r.get(group, "") for r in pool)
    values = sorted({r[group] for r in [*records, *pool] if r.get(group)}) if group else [""]
    mean = int(np.ceil(len(records) / max(1, len(labels) * len(values))))
    rows = [(label, value, counts[label, value], in_pool[value]) for label in labels for value in values]
    table = pd.DataFrame(rows, columns=["label", group or "group", "count", "pool"])
    table["wanted"] = (mean - table["count"]).clip(lower=0)
    return table[table.wanted > 0].sort_values(["count", "pool"], kind="stable").reset_index(drop=True)


# --- the brief -------------------------------------------------------------------------------------------------------


def read_brief(path: str, task: Task) -> dict:
    """What a teacher is told to write: `text` (what a text is), `labels` (their meanings), `columns` (what it can be asked to be).

    A column has a `name` for the prompt and `options`: a `value`, what it `says`, the columns it goes with (`only`), and how it
    is recognised in a text, for counting: a number of `words` or `forms`. '' gives an empty brief. Raises UserError on a bad file.
    """
    if not path:
        return {"text": "", "labels": {}, "columns": {}}
    file = embedded_file(path)
    try:
        brief = yaml.safe_load(file.read_text(encoding="utf-8"))
        columns = brief["columns"]
        values = [option["value"] for column in columns.values() for option in column.get("options", [])]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"Parameter brief={path!r} cannot be read: it is a YAML file with text, labels and columns ({error!r})."
        ) from error
    if set(brief["labels"]) != set(task.labels) or not all(isinstance(value, str) for value in values):
        raise UserError(f"{file} must say what each of {', '.join(task.labels)} means, and nothing else, in text.")
    if path.startswith("embedded:"):  # occupations of the test rows alone are not asked for
        columns["occupation"]["options"] = [
            {"value": job["lemma"], "says": job["lemma"], "only": {"sector": job["sector"]}}
            | {"forms": [job["masculine"], job["feminine"], job["double"]]}
            for job in ads.jobs_of({})
        ]
    return brief


def count_options(options: list[dict], texts: Sequence[str]) -> Counter[str]:
    """How many texts each option is recognised in, by its `forms` or its number of `words`."""
    counts: Counter[str] = Counter()
    named = {normalise(form): o["value"] for o in options for form in o.get("forms", ())}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(named, key=len, reverse=True))) + r")\b")
    for text in map(normalise, texts):
        length = len(text.split())
        counts.update(o["value"] for o in options if "words" in o and o["words"][0] <= length <= o["words"][1])
        if named:
            counts.update({named[match] for match in pattern.findall(text)})
    return counts


def plan_requests(
    cells: pd.DataFrame, brief: dict, texts: Sequence[str], most: int, seed: int = 0
) -> list[dict[str, str]]:
    """What to ask for, at most `most` times: one dict of columns for every row that a cell wants, a row a cell in turn.

    Every column of the brief gets the option that fits and was seen least, in `texts` (seed and pool) and in the plan so far.
    """
    rng = np.random.default_rng(seed)
    columns = {name: column["options"] for name, column in brief["columns"].items() if column.get("options")}
    counts = {name: count_options(options, texts) for name, options in columns.items()}
    group = [name for name in cells.columns if name not in ("count", "pool", "wanted", "group")]
    rows = []
    for turn in range(int(cells.wanted.max()) if len(cells) else 0):
        for cell in cells[cells.wanted > turn].to_dict("records"):
            row = {name: cell[name] for name in group}
            for name, options in columns.items():
                fit = [o for o in options if all(row.get(k) == v for k, v in o.get("only", {}).items())]
                if fit and name not in row:
                    best = min(fit, key=lambda o: (counts[name][o["value"]], rng.random()))
                    row[name] = best["value"]
                    counts[name][best["value"]] += 1
            rows.append(row)
    return rows[:most]
