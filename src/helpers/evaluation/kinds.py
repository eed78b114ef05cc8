"""Which kinds of exclusion rows have, by their data or by the rules, and how well a detector names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import bootstrap_interval, f1_otherwise
from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues


def with_kinds(
    rows: Sequence[dict], known: Mapping[str, list[str]], opinions: Mapping[str, Mapping[str, dict]], language: str
) -> list[dict]:
    """The rows with `kinds` where they are known: from the data, or weakly from the evidence that people marked.

    A weak label is the category of the rules' cue that a marked span touches; the rules know Italian alone.

    Parameters
    ----------
    rows : records
    known : record id → kinds that the data give
    opinions : annotator → record id → what she says, with `spans`, as `labels.log.annotations` gives it
    language : str
    """
    kept = []
    for row in rows:
        spans = [*(row.get("spans") or [])]
        for answers in opinions.values():
            spans += answers.get(row["id"], {}).get("spans", [])
        kinds = row.get("kinds") or known.get(row["id"]) or (weak_kinds(row["text"], spans) if language == "it" else [])
        kept.append(row | {"kinds": kinds} if kinds else row)
    return kept


def weak_kinds(text: str, spans: Sequence[Sequence[int]]) -> list[str]:
    """The categories of the rules' cues that touch the spans."""
    touched = {
        cue.category for cue in find_cues(text, EVERYONE) for span in spans if cue.start < span[1] and span[0] < cue.end
    }
    return sorted(touched)


def rule_kinds(texts: Sequence[str], scope: str) -> list[list[str]]:
    """The categories of the rules' cues in every text."""
    return [sorted({cue.category for cue in find_cues(text, scope)}) for text in texts]


def score_kinds(
    truth: Sequence[Sequence[str]],
    found: Mapping[str, Sequence[Sequence[str]]],
    draws: int = 1000,
    clusters: Sequence | None = None,
) -> pd.DataFrame:
    """F1 of every kind for every finder, with its 95 % bootstrap interval, the most frequent kind first, then their mean.

    Columns `kind`, `count` (rows that have it), and of each finder its name with '', ' low' and ' high'.

    Parameters
    ----------
    truth : for each row the kinds that it has
    found : name of a finder → for each row the kinds that it names
    draws : int
    clusters : sequence, optional
        Rows with the same name are drawn together.
    """
    counts = {name: sum(name in own for own in truth) for name in sorted({n for own in truth for n in own})}
    names = sorted(counts, key=lambda name: -counts[name])
    rows = []
    for name in names:
        has, row = np.array([name in own for own in truth]), {"kind": name, "count": counts[name]}
        for finder, kinds in found.items():
            named = np.array([name in own for own in kinds])
            otherwise = partial(_f1_otherwise, has, named)
            low, high = bootstrap_interval(_f1, has, named, draws=draws, clusters=clusters, otherwise=otherwise)
            row |= {finder: float(_f1(has, named)), f"{finder} low": low, f"{finder} high": high}
        rows.append(row)
    columns = [f"{finder}{end}" for finder in found for end in ("", " low", " high")]
    table = pd.DataFrame(rows, columns=["kind", "count", *columns])
    if len(table) > 1:
        mean = {"kind": "mean of the kinds", "count": sum(bool(own) for own in truth)}
        table.loc[len(table)] = mean | {name: table[name].mean() if name in found else np.nan for name in columns}
    return table


def _f1_otherwise(truth: np.ndarray, named: np.ndarray, share: float) -> tuple[float, float]:
    """Lowest and highest F1 if a share of the rows were answered otherwise."""
    counts = (truth & named).sum(), truth.sum(), truth.sum() + named.sum()
    worse, better, _ = f1_otherwise(*map(np.asarray, counts), share * len(truth))
    return float(worse), float(better)


def _f1(truth: np.ndarray, named: np.ndarray, axis: int = -1) -> np.ndarray:
    total = truth.sum(axis) + named.sum(axis)
    return 2 * (truth & named).sum(axis) / np.maximum(total, 1)
