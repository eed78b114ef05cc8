"""Synthetic rows from a seed set, and the filters they must pass.

A candidate is a record with `source` `counterfactual` or `synthetic`, the `parent_id` of its seed row where it has one, and
a proposed `label`. Filters are functions from candidates to a boolean array; `apply_filters` shows what each rejects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from helpers import data, english, italian
from helpers.task import Task

Filter = Callable[[list[dict]], np.ndarray]


def variants(text: str, language: str) -> list[str]:
    """Gender-swapped versions of a text (`it`: feminine and masculine; `en`: the swap), without the text itself."""
    if language == "it":
        found = [italian.swap(text, "feminine"), italian.swap(text, "masculine")]
    else:
        found = [english.swap(text)] if language == "en" else []
    return [v for v in dict.fromkeys(found) if v != text]


def counterfactuals(records: list[dict], task: Task, language: str) -> list[dict]:
    """Counterfactual rows of labelled records: gender swaps keep the label; in Italian a double-form rewording of a
    positive row takes the other label, a contrast pair in which only the wording at issue differs (Gardner et al. 2020)."""
    other = next(label for label in task.labels if label != task.positive)
    rows = []
    for record in records:
        made = [(v, record["label"]) for v in variants(record["text"], language)]
        if language == "it" and record["label"] == task.positive:
            neutral = italian.neutralise(record["text"])
            made += [(neutral, other)] if neutral != record["text"] else []
        rows += [_child(record, text, label, task, "counterfactual") for text, label in made]
    return rows


def _child(parent: dict, text: str, label: str, task: Task, source: str) -> dict:
    kept = {g: parent[g] for g in task.groups if g in parent}
    return {
        "id": data.record_id(task.name, text),
        "text": text,
        "label": label,
        **kept,
        "source": source,
        "parent_id": parent["id"],
        "split": "seed",
    }


def draw(records: list[dict], n: int, seed: int) -> list[dict]:
    """`n` records at random, in their order; all of them where there are fewer."""
    chosen = np.random.default_rng(seed).permutation(len(records))[:n]
    return [records[i] for i in np.sort(chosen)]


def reviewed(records: list[dict], verdicts: dict[str, str], task: str) -> list[dict]:
    """The records after a review: an empty verdict rejects, any other is the text as people left it."""
    kept = []
    for record in records:
        text = data.clean(verdicts.get(record["id"], record["text"]))
        if text:
            kept.append(record if text == record["text"] else record | {"text": text, "id": data.record_id(task, text)})
    return list({r["text"]: r for r in kept}.values())


def describe_review(records: list[dict], verdicts: dict[str, str]) -> str:
    """One line: how many rows were looked at, and the share that was not rejected with its 95 % Wilson interval."""
    from scipy.stats import binomtest

    seen = [r for r in records if r["id"] in verdicts]
    if not seen:
        return f"0 of {len(records)} rows looked at so far"
    good = sum(bool(verdicts[r["id"]].strip()) for r in seen)
    mended = sum(bool(v := verdicts[r["id"]].strip()) and v != r["text"] for r in seen)
    share = binomtest(good, len(seen)).proportion_ci(method="wilson")
    return (
        f"{len(seen)} of {len(records)} rows looked at: {good} kept ({good / len(seen):.0%}, 95 % interval "
        f"{share.low:.0%}–{share.high:.0%}), {mended} of them mended, {len(seen) - good} rejected"
    )


def thin_cells(records: list[dict], group: str, labels: Sequence[str]) -> pd.DataFrame:
    """Label × group cells with fewer rows than the mean cell: columns label, group, count, wanted."""
    counts = Counter((r["label"], r[group]) for r in records)
    values = sorted({r[group] for r in records if r[group]})
    mean = int(np.ceil(len(records) / max(1, len(labels) * len(values))))
    rows = [(label, value, counts[label, value]) for label in labels for value in values]
    table = pd.DataFrame(rows, columns=["label", group, "count"])
    table["wanted"] = (mean - table["count"]).clip(lower=0)
    return table[table.wanted > 0].reset_index(drop=True)


def fill_cells(cells: pd.DataFrame, group: str, task: Task, generator: Iterable[dict], most: int) -> list[dict]:
    """At most `most` rows from a generator of labelled dicts, those that fall into cells that still want some."""
    wanted = {(row["label"], row[group]): int(row["wanted"]) for row in cells.to_dict("records")}
    rows: list[dict] = []
    for made in generator:
        key = (made["label"], made.get(group))
        if wanted.get(key, 0) > 0:
            wanted[key] -= 1
            kept = {g: made[g] for g in task.groups if g in made}
            name = data.record_id(task.name, made["text"])
            rows.append(
                {
                    "id": name,
                    "text": made["text"],
                    "label": made["label"],
                    **kept,
                    "source": "synthetic",
                    "split": "seed",
                }
            )
        if len(rows) >= most or not any(wanted.values()):
            break
    return rows


# --- filters ---------------------------------------------------------------------------------------------------------


def well_formed(candidates: list[dict]) -> np.ndarray:
    """20 to 4,000 characters, half of them letters or blanks."""
    return np.array([20 <= len(r["text"]) <= 4000 and _wordy(r["text"]) for r in candidates], bool)


def _wordy(text: str) -> bool:
    return sum(c.isalpha() or c.isspace() for c in text) >= 0.5 * len(text)


def not_exact_duplicates(known: list[dict]) -> Filter:
    """Neither in `known` nor earlier among the candidates."""

    def keep(candidates: list[dict]) -> np.ndarray:
        seen, out = {r["text"] for r in known}, []
        for record in candidates:
            out.append(record["text"] not in seen)
            seen.add(record["text"])
        return np.array(out, bool)

    return keep


def not_near_duplicates(known: list[dict], threshold: float) -> Filter:
    """No near-duplicate in `known` or earlier among the candidates, the row's own parent and siblings set aside."""

    def keep(candidates: list[dict]) -> np.ndarray:
        rows = [*known, *candidates]
        groups = data.near_duplicate_groups([r["text"] for r in rows], threshold)
        family = [r.get("parent_id") or r["id"] for r in rows]
        seen: dict[int, set[str]] = {}
        out = []
        for group, name in zip(groups, family, strict=True):
            out.append(not seen.setdefault(int(group), set()) - {name})
            seen[int(group)].add(name)
        return np.array(out[len(known) :], bool)

    return keep


def no_leaks(evaluation: list[dict]) -> Filter:
    """No exact or near-duplicate of an evaluation row."""

    def keep(candidates: list[dict]) -> np.ndarray:
        leaked = {id(r) for r in data.leaks(candidates, evaluation)}
        return np.array([id(r) not in leaked for r in candidates], bool)

    return keep


def label_agrees(judge: Callable[[Sequence[str]], np.ndarray], task: Task, floor: float = 0.2) -> Filter:
    """The judge gives the proposed label at least probability `floor`; the judge must not be the row's generator."""

    def keep(candidates: list[dict]) -> np.ndarray:
        proposed = task.index([r["label"] for r in candidates])
        return judge([r["text"] for r in candidates])[np.arange(len(candidates)), proposed] >= floor

    return keep


def apply_filters(candidates: list[dict], filters: dict[str, Filter]) -> tuple[list[dict], pd.DataFrame]:
    """(accepted, acceptance table): filters in order, each on what the earlier ones let through."""
    rows, left = [], list(candidates)
    for name, keep in filters.items():
        mask = keep(left) if left else np.zeros(0, bool)
        for source in ("counterfactual", "synthetic"):
            of_source = np.array([r["source"] == source for r in left], bool)
            rows.append((name, source, int(of_source.sum()), int(mask[of_source].sum())))
        left = [r for r, ok in zip(left, mask, strict=True) if ok]
    table = pd.DataFrame(rows, columns=["filter", "source", "candidates", "accepted"])
    table["acceptance"] = (table.accepted / table.candidates.clip(lower=1)).round(3)
    return left, table[table.candidates > 0].reset_index(drop=True)
