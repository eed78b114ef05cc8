"""Which texts to request from a teacher: the rare label × group cells, with attributes that the brief of a task offers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ValidationError

from helpers.data.embedded import embedded_file
from helpers.env import UserError
from helpers.files import read_text, read_yaml
from helpers.italian import ads
from helpers.task import Task
from helpers.text import bare_words


def thin_cells(records: list[dict], group: str, labels: Sequence[str], pool: Sequence[dict] = ()) -> pd.DataFrame:
    """Find the label × group cells with fewer rows than the mean cell, the rarest first.

    The group '' makes one cell of each label; the unlabelled `pool` tells how rare a group is. The columns are label,
    the group column, count, pool (its rows in that group) and missing (rows below the mean).
    """
    counts = Counter((r["label"], r.get(group, "")) for r in records)
    pool_counts = Counter(r.get(group, "") for r in pool)
    groups = sorted({r[group] for r in [*records, *pool] if r.get(group)}) if group else [""]
    mean = int(np.ceil(len(records) / max(1, len(labels) * len(groups))))
    rows = [(label, value, counts[label, value], pool_counts[value]) for label in labels for value in groups]
    table = pd.DataFrame(rows, columns=["label", group or "group", "count", "pool"])
    table["missing"] = (mean - table["count"]).clip(lower=0)
    return table[table.missing > 0].sort_values(["count", "pool"], kind="stable").reset_index(drop=True)


class Option(BaseModel):
    value: str
    says: str = ""
    only: dict[str, str] = {}
    forms: list[str] = []
    words: tuple[int, int] = (0, 0)


class Column(BaseModel):
    name: str = ""
    options: list[Option] = []


class Brief(BaseModel):
    """What the file of a brief must have; see `read_brief`."""

    text: str
    labels: dict[str, str]
    columns: dict[str, Column]


def read_brief(path: str, task: Task | None) -> dict:
    """Read the YAML file that tells a teacher what to write.

    It has `text` (the kind of text), `labels` (label → meaning) and `columns` (name → what a text can be requested to
    be), all empty for the path ''. A column has a `name` for the prompt and `options`. An option has a `value`, its
    wording in the prompt (`says`), the other columns that it requires (`only`), and the `forms` or the range of `words`
    by which `count_options` recognises it. Without a `task`, whose labels the data are still to say, any labels will do.
    """
    if not path:
        return {"text": "", "labels": {}, "columns": {}}
    file = embedded_file(path)
    try:
        brief = read_yaml(read_text(file))
        Brief.model_validate(brief)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # a value that is no date is a ValueError
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        fault = f"Parameter brief={path!r} cannot be read: it is a YAML file with text, labels and columns"
        raise UserError(f"{fault} ({reason}).") from error
    if task is not None and set(brief["labels"]) != set(task.labels):
        raise UserError(f"{file} must say what each of {', '.join(task.labels)} means, and nothing else, in text.")
    if path.startswith("embedded:"):  # without the occupations that only the test rows have
        jobs = [(job, [job["masculine"], job["feminine"], job["double"]]) for job in ads.jobs_of({})]
        brief["columns"]["occupation"]["options"] = [
            {"value": job["lemma"], "says": job["lemma"], "only": {"sector": job["sector"]}, "forms": forms}
            for job, forms in jobs
        ]
    return brief


def count_options(options: list[dict], texts: Sequence[str]) -> Counter[str]:
    """Count the texts in which each option of a column is recognised, by its `forms` or its number of `words`."""
    counts: Counter[str] = Counter()
    value_of = {bare_words(form): option["value"] for option in options for form in option.get("forms", ())}
    longest_first = sorted(value_of, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")
    for text in map(bare_words, texts):
        length = len(text.split())
        counts.update(o["value"] for o in options if "words" in o and o["words"][0] <= length <= o["words"][1])
        if value_of:
            counts.update({value_of[form] for form in pattern.findall(text)})
    return counts


def plan_requests(cells: pd.DataFrame, brief: dict, texts: Sequence[str], limit: int, seed: int = 0) -> list[dict]:
    """Plan at most `limit` texts to request: one for each missing row of `thin_cells`, the cells taking turns.

    Every request also gets an option of each column of the brief that fits it: always the option that is rarest so
    far, in `texts` (seed and pool) and in the requests before it. A request maps columns to values, label and group
    first.
    """
    rng = np.random.default_rng(seed)
    columns = {name: column["options"] for name, column in brief["columns"].items() if column.get("options")}
    counts = {name: count_options(options, texts) for name, options in columns.items()}
    cell_columns = [name for name in cells.columns if name not in ("count", "pool", "missing", "group")]
    requests = []
    for turn in range(int(cells.missing.max()) if len(cells) else 0):
        for cell in cells[cells.missing > turn].to_dict("records"):
            request = {name: cell[name] for name in cell_columns}
            for name, options in columns.items():
                fitting = [o for o in options if all(request.get(k) == v for k, v in o.get("only", {}).items())]
                if fitting and name not in request:
                    rarest = min(fitting, key=lambda o: (counts[name][o["value"]], rng.random()))
                    request[name] = rarest["value"]
                    counts[name][rarest["value"]] += 1
            requests.append(request)
    return requests[:limit]
