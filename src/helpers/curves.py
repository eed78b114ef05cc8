"""Learning curves compared: area, labels to reach a level, intervals over seeds and paired tests.

A table of curves has a row a round: `set`, `strategy`, `seed`, `labels`, `macro_f1`, and what else was measured. Strategies of one
set share their seeds and their first labels, so differences are taken seed by seed.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from helpers.env import UserError

COLUMNS = ("set", "strategy", "seed", "labels", "macro_f1")
LEVELS = (0.90, 0.95, 0.98)


def area(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean height of the curves `scores` (..., rounds) between the first and the last of `labels` (rounds,)."""
    labels = np.asarray(labels, dtype=float)
    return np.trapezoid(scores, labels, axis=-1) / (labels[-1] - labels[0])


def labels_to(labels: np.ndarray, scores: np.ndarray, level: float) -> np.ndarray:
    """Labels (...) at which the curves `scores` (..., rounds) first reach `level`, interpolated; infinity where they never do."""
    n, s = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    reached = s >= level
    at = reached.argmax(-1)
    before = np.maximum(at - 1, 0)
    low, high = (np.take_along_axis(s, i[..., None], -1)[..., 0] for i in (before, at))
    share = np.where(at > 0, (level - low) / np.where(high > low, high - low, 1), 0)
    return np.where(reached.any(-1), n[before] + share * (n[at] - n[before]), np.inf)


def paired_p(differences: np.ndarray, draws: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test that paired `differences` (seeds,) have mean zero; exact up to 13 seeds."""
    d = np.asarray(differences, dtype=float)
    if len(d) <= 13:
        signs = np.array(list(product((1, -1), repeat=len(d))))
    else:
        signs = np.random.default_rng(seed).choice((1, -1), (draws, len(d)))
        signs[0] = 1  # what was observed is one of the draws
    means = np.abs((signs * d).mean(1))
    return float((means >= abs(d.mean()) - 1e-12).mean())


def wide(table: pd.DataFrame, of: str, strategy: str, measure: str = "macro_f1") -> pd.DataFrame:
    """One strategy's curves on one set: a row a seed, a column a number of labels that every seed reached."""
    part = table[(table["set"] == of) & (table.strategy == strategy)]
    return part.pivot(index="seed", columns="labels", values=measure).dropna(axis=1)


def compare(
    table: pd.DataFrame,
    of: str,
    full: float,
    baseline: str = "random",
    upto: int | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a strategy on the set `of`, best area first, with 95 % bootstrap intervals over seeds.

    `area` is that of macro-F1 up to `upto` labels, `gain` its mean difference to `baseline` on the same seeds, `p` that of the
    sign-flip test. `to_95` is the number of labels at which the mean curve reaches 95 % of `full`, the score with every label, and
    `ratio_95` its share of what the baseline needs, whose curve may go on beyond `upto`. Raises UserError on a missing column.
    """
    _checked(table)
    mine = table[table["set"] == of]
    base = wide(mine, of, baseline)
    rows = []
    for name in mine.strategy.unique():
        curve = wide(mine, of, name)
        seeds = curve.index.intersection(base.index)
        if not len(seeds):
            raise UserError(f"Strategy {name} and {baseline} share no seed on {of}: run both with the same seeds.")
        drawn = np.random.default_rng(seed).integers(0, len(seeds), (draws, len(seeds)))
        ours, theirs = _areas(curve.loc[seeds], upto), _areas(base.loc[seeds], upto)
        row = {"set": of, "strategy": name, "seeds": len(seeds), "area": ours.mean()}
        row |= _bounds("area", ours[drawn].mean(1)) | {"gain": (ours - theirs).mean()}
        row |= _bounds("gain", (ours - theirs)[drawn].mean(1)) | {"p": paired_p(ours - theirs)}
        for level in LEVELS:
            needs = [
                labels_to(c.columns, np.vstack([c.mean(), c.to_numpy()[drawn].mean(1)]), level * full)
                for c in (curve.loc[seeds], base.loc[seeds])
            ]
            tag = f"{100 * level:.0f}"
            row |= {f"to_{tag}": needs[0][0]} | _bounds(f"to_{tag}", needs[0][1:])
            if np.isfinite(needs[1]).all():
                ratio = needs[0] / needs[1]
                row |= {f"ratio_{tag}": ratio[0]} | _bounds(f"ratio_{tag}", ratio[1:])
        rows.append(row)
    return pd.DataFrame(rows).sort_values("area", ascending=False, kind="stable").reset_index(drop=True)


def mean_curve(table: pd.DataFrame, measure: str = "macro_f1", draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Mean of `measure` over seeds with a 95 % bootstrap interval: a row for each set, strategy and number of labels."""
    _checked(table)
    rows = []
    for (of, name, labels), part in table.groupby(["set", "strategy", "labels"], sort=False):
        values = part[measure].to_numpy(dtype=float)
        drawn = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
        rows.append(
            {"set": of, "strategy": name, "labels": labels, measure: values.mean(), "seeds": len(values)}
            | dict(zip(("low", "high"), np.quantile(drawn, [0.025, 0.975]), strict=True))
        )
    return pd.DataFrame(rows)


def _areas(curve: pd.DataFrame, upto: int | None) -> np.ndarray:
    kept = curve.loc[:, [n for n in curve.columns if upto is None or n <= upto]]
    if kept.shape[1] < 2:
        raise UserError("A curve has fewer than two rounds that every seed reached: an area needs two.")
    return area(kept.columns.to_numpy(), kept.to_numpy())


def _bounds(name: str, values: np.ndarray) -> dict[str, float]:
    """95 % percentile interval; a bound that lies among never-reached draws is infinite."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _checked(table: pd.DataFrame) -> None:
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise UserError(f"The table of curves has no column {missing[0]}: it needs {', '.join(COLUMNS)}.")
