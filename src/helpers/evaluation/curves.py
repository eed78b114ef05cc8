"""Learning curves compared: area, labels to reach a level, intervals over seeds and paired tests.

A table of curves has a row a round: `set`, `strategy`, `seed`, `labels`, `score`, and what else was measured. The score is
macro-F1; in a task of generation compliance and chrF are measured, and each is a set of its own. Strategies of one set share their
seeds and their first labels, so differences are taken seed by seed.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import files, run
from helpers.env import UserError

COLUMNS = ("set", "strategy", "seed", "labels", "score")
GENERATION = ("compliance", "chrF")  # the scores of a task of generation
# of a round, where it recorded them, with how a page writes them; money is a teacher's
COSTS = {"seconds": "{:,.1f}", "tokens": "{:,.0f}", "money": "{:,.4f}"}
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


def wide(table: pd.DataFrame, of: str, strategy: str, measure: str = "score") -> pd.DataFrame:
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

    `area` is that of the score up to `upto` labels, by default as many as every strategy has; `gain` is its mean difference to
    `baseline` on the same seeds, `p` that of the sign-flip test. `to_95` is the number of labels at which the mean curve reaches
    95 % of `full`, the score with every label, and `ratio_95` its share of what the baseline needs, whose curve may go on beyond
    `upto`. Raises UserError on a missing column or baseline.
    """
    _checked(table)
    mine = table[table["set"] == of]
    base, rows = wide(mine, of, baseline), []
    if base.empty:
        raise UserError(
            f"The set {of} has no curve of {baseline}: run it with the same seeds, or choose another baseline."
        )
    found = {name: wide(mine, of, name) for name in mine.strategy.unique()}
    upto = upto or min((c.columns.max() for name, c in found.items() if name != baseline), default=base.columns.max())
    for name, curve in found.items():
        seeds = curve.index.intersection(base.index)
        if not len(seeds):
            raise UserError(f"Strategy {name} and {baseline} share no seed on {of}: run both with the same seeds.")
        drawn = np.random.default_rng(seed).integers(0, len(seeds), (draws, len(seeds)))
        shared = [n for n in curve.columns.intersection(base.columns) if n <= upto]
        ours, theirs = (_areas(c.loc[seeds, shared]) for c in (curve, base))
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


def mean_curve(table: pd.DataFrame, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Mean score over seeds with a 95 % bootstrap interval: a row for each set, strategy and number of labels.

    Of one seed the interval is that over its rows, `low` and `high` of the table, where it has them.
    """
    _checked(table)
    rows = []
    for (of, name, labels), part in table.groupby(["set", "strategy", "labels"], sort=False):
        values = part.score.to_numpy(dtype=float)
        drawn = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
        bounds = dict(zip(("low", "high"), np.quantile(drawn, [0.025, 0.975]), strict=True))
        if len(part) == 1 and {"low", "high"} <= {*part.dropna(axis=1)}:
            bounds = part[["low", "high"]].iloc[0].to_dict()
        row = {"set": of, "strategy": name, "labels": labels, "score": values.mean(), "seeds": len(values)}
        rows.append(row | bounds)
    return pd.DataFrame(rows)


def from_runs(folders: list[Path]) -> pd.DataFrame:
    """The rounds of active learning in run folders, a row a round; a `set` is a task with a learner, a model and a score."""
    rows = []
    for folder in folders:
        stage = next((f for f in folder.glob("03_*") if (f / "rounds.jsonl").exists()), folder)
        manifest = run.read_manifest(stage)
        if manifest is None:
            raise UserError(f"{folder} has no finished rounds: run 03 with run_id={folder.name!r} first.")
        rows += _of_run(folder.name, manifest["parameters"], files.read_jsonl(stage / "rounds.jsonl"))
    table = pd.DataFrame(rows, columns=["set", "run", "seed", "strategy", "labels", "score", "low", "high", *COSTS])
    table = table.drop_duplicates([*COLUMNS])  # random runs beside every strategy
    if (twice := table.duplicated(["set", "strategy", "seed", "labels"])).any():
        first = table[twice].iloc[0]
        raise UserError(
            f"Run {first.run} has the seed and the strategy of another one (seed={first.seed}, {first.strategy}): "
            f"name the runs to compare in the parameter runs."
        )
    return table.sort_values("set", kind="stable", ignore_index=True)


def _of_run(name: str, chosen: dict, rounds: list[dict]) -> list[dict]:
    """The rows of one run: a round once for every score that it has."""
    model, rows = Path(chosen["model"]).name, []
    for r in rounds:
        shared = {"run": name, "seed": chosen["seed"], "strategy": r["strategy"]} | {c: r.get(c) for c in COSTS}
        if "macro_f1" in r:
            score = {"labels": r["labels"], "score": r["macro_f1"], "low": r.get("low"), "high": r.get("high")}
            rows.append(shared | score | {"set": f"{chosen['task']}, {chosen['learner']}, {model}"})
        else:
            rows += [
                shared
                | {"set": f"{chosen['task']}, {model}: {m}", "labels": r["targets"], "score": r[m]}
                | {end: r[f"{m}_{end}"] for end in ("low", "high")}
                for m in GENERATION
            ]
    return rows


def from_csv(path: Path) -> pd.DataFrame:
    """A table of curves as the benchmarks write it.

    Columns `set`, `strategy`, `seed`, and one for each number of labels; of generation `learner`, `labels` and the scores.
    """
    table = pd.read_csv(path)
    if missing := [c for c in COLUMNS[:3] if c not in table.columns]:
        raise UserError(
            f"{path} has no column {missing[0]}: it needs set, strategy, seed and a column a number of labels."
        )
    if measured := [m for m in GENERATION if m in table.columns]:
        long = table.melt([*COLUMNS[:3], "learner", "labels"], measured, var_name="measure", value_name="score")
        long["set"] = long["set"] + ", " + long.learner + ": " + long.measure
        long = long[[*COLUMNS]].dropna()
    else:
        long = table.melt(list(COLUMNS[:3]), var_name="labels", value_name="score").dropna()
    return long.astype({"labels": int}).sort_values(["set", "strategy", "seed", "labels"]).reset_index(drop=True)


def final_scores(folders: list[Path]) -> pd.DataFrame:
    """What 04 measured on the test rows: a row a model or system, a column a score and run; empty where no run has reached it."""
    found = []
    for path in (p for folder in folders for p in folder.glob("04_*/headline.csv")):
        table = pd.read_csv(path).rename(columns={"system": "model"}).assign(run=path.parents[1].name)
        scores = [c for c in ("macro_f1", "strict", *GENERATION) if c in table]
        found.append(table.melt(["model", "run"], scores, var_name="score"))
    if not found:
        return pd.DataFrame()
    return pd.concat(found).pivot_table("value", "model", ["score", "run"], sort=False)


def describe_gain(row: pd.Series, baseline: str = "random") -> str:
    """A row of `compare` in words: the gain with its interval, and whether it is more than luck."""
    if row.seeds < 2:
        return f"{row.strategy} {row.gain:+.3f} against {baseline} on one seed: it cannot be told from luck."
    luck = "more than luck" if row.p < 0.05 and row.gain_low * row.gain_high > 0 else "it may be luck"
    if row.seeds < 6 and row.gain_low * row.gain_high > 0:  # the sign-flip test has 2 ** seeds outcomes
        luck = "the interval leaves zero out, but p < 0.05 takes six seeds or more"
    span = f"{row.gain:+.4f} [{row.gain_low:+.4f}, {row.gain_high:+.4f}]"
    return f"{row.strategy} {span} against {baseline} on {row.seeds} seeds, p = {row.p:.3f}: {luck}."


def format_labels(value: float, form: str = ".0f") -> str:
    """A number of labels, or a share, from a row of `compare`: an infinite one was never reached, a missing one has no baseline."""
    return "–" if np.isnan(value) else "not reached" if np.isinf(value) else format(value, form)


def _areas(curve: pd.DataFrame) -> np.ndarray:
    if curve.shape[1] < 2:
        raise UserError("Curves need two rounds that every seed and the baseline reached: an area lies between them.")
    return area(curve.columns.to_numpy(), curve.to_numpy())


def _bounds(name: str, values: np.ndarray) -> dict[str, float]:
    """95 % percentile interval; a bound that lies among never-reached draws is infinite."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _checked(table: pd.DataFrame) -> None:
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise UserError(f"The table of curves has no column {missing[0]}: it needs {', '.join(COLUMNS)}.")
