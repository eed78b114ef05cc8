"""Learning curves compared: area, labels to reach a level, intervals over seeds and paired tests.

A table of curves has one row per round: `set`, `strategy`, `seed`, `labels`, `score`, and the
round's costs. The score is macro-F1; a generation task has two scores, compliance and chrF, each a
set of its own. The strategies of a set share their seeds and their first labels, so differences are
taken seed by seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from scipy.stats import permutation_test

from helpers import files, pipeline, run
from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation.cards import source_name
from helpers.evaluation.intervals import bootstrap_draws, bootstrap_interval
from helpers.text import clean
from helpers.text import name as one_line

COLUMNS = ("set", "strategy", "seed", "labels", "score")
GENERATION = ("compliance", "chrF")  # the scores of a generation task
COSTS = {"seconds": "{:,.1f}", "tokens": "{:,.0f}", "money": "{:,.4f}"}  # of a round, with their formats on a page
LEVELS = (0.90, 0.95, 0.98)  # shares of the full-data score
DRAWS = 2000  # bootstrap draws over seeds
# Parameters of 01 that say which rows of a table are for evaluation, the seed aside.
SPLIT = ("text_column", "label_column", "label_threshold", "question", "target_columns", "split_column", "test_split")
SPLIT += ("validation_split", "test_size", "validation_size", "scorer_size", "near_duplicate")
COMPARED = ["set", "strategy", "seeds", "area", "area_low", "area_high", "gain", "gain_low", "gain_high", "p"]


def area(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean height (...) of the curves `scores` (..., rounds) over `labels` (rounds,)."""
    labels = np.asarray(labels, dtype=float)
    return trapezoid(scores, labels, axis=-1) / (labels[-1] - labels[0])


def labels_to(labels: np.ndarray, scores: np.ndarray, level: float) -> np.ndarray:
    """Labels (...) at which the curves `scores` (..., rounds) reach `level`; infinity if never."""
    labels, scores = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    reaches = scores >= level
    after = reaches.argmax(-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(scores, i[..., None], -1)[..., 0] for i in (before, after))
    share = np.where(after > 0, (level - low) / np.where(high > low, high - low, 1), 0)
    return np.where(reaches.any(-1), labels[before] + share * (labels[after] - labels[before]), np.inf)


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p of the sign-flip test on paired differences (seeds,); exact up to 13 seeds."""
    if len(differences) < 2:
        return 1.0
    settings = {"permutation_type": "samples", "n_resamples": 10_000, "random_state": np.random.default_rng(0)}
    return float(permutation_test((differences,), np.mean, vectorized=True, **settings).pvalue)


def wide(table: pd.DataFrame, of: str, strategy: str, measure: str = "score") -> pd.DataFrame:
    """A strategy's curves on the set `of`: one row per seed, one column per shared number of labels."""
    part = table[(table["set"] == of) & (table.strategy == strategy)]
    return part.pivot(index="seed", columns="labels", values=measure).dropna(axis=1)


def compare(
    table: pd.DataFrame, of: str, full: float, baseline: str = "random", upto: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Compare the strategies of the set `of` with a baseline, seed by seed, largest area first.

    `full` is the score with every label. Areas end at `upto` labels, by default at as many as every
    strategy has; the baseline's curve may go on.

    Columns: `area` under the curve; `gain`, its mean difference from the baseline's; `p` of the
    sign-flip test; `to_95`, the labels at which the mean curve reaches 95 % of `full`; `ratio_95`,
    its share of what the baseline needs. `_low` and `_high` bound 95 % bootstrap intervals over seeds.
    """
    curves = {name: wide(table, of, name) for name in table[table["set"] == of].strategy.unique()}
    if baseline not in curves or curves[baseline].empty:
        remedy = (
            "run it with the same seeds, or choose another baseline (where people label, nothing is drawn at random)"
        )
        raise UserError(f"The set {of} has no curve of {baseline}: {remedy}.")
    base = curves[baseline]
    last = [curve.columns.max() for name, curve in curves.items() if name != baseline]
    upto = upto or min(last, default=base.columns.max())
    rows = []
    for name, curve in curves.items():
        seeds = curve.index.intersection(base.index)
        if not len(seeds):
            raise UserError(f"Strategy {name} and {baseline} share no seed on {of}: run both with the same seeds.")
        curve, rival = curve.loc[seeds], base.loc[seeds]
        row = {"set": of, "strategy": name, "seeds": len(seeds)}
        rows.append(row | _gain(curve, rival, upto, seed) | _labels_needed(curve, rival, full, seed))
    return pd.DataFrame(rows).sort_values("area", ascending=False, kind="stable", ignore_index=True)


def compare_sets(
    table: pd.DataFrame, full: dict[str, float], baseline: str = "random", upto: int | None = None, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, str]]:
    """`compare` on every set that has the baseline, and set → why there is no comparison.

    Human runs have no random arm, and a strategy may share no seed with the baseline: what cannot be
    compared is left out and named. `full` has the score with every label by set.
    """
    parts, reasons = [pd.DataFrame(columns=COMPARED)], {}
    for of, score in full.items():
        own = table[table["set"] == of]
        shares_seed = own.groupby("strategy").seed.agg(set).map({*own[own.strategy == baseline].seed}.intersection)
        apart = [name for name, seeds in shares_seed.items() if not seeds]
        if apart and baseline not in apart:
            reasons[of] = f"{', '.join(apart)} shares no seed with {baseline}, and is left out of the comparison."
            own = own[~own.strategy.isin(apart)]
        try:
            parts.append(compare(own, of, score, baseline, upto, seed))
        except UserError as error:
            reasons[of] = str(error)
    return pd.concat(parts[1:] or parts, ignore_index=True), reasons


def drawn_curves(mean: pd.DataFrame, comparison: pd.DataFrame, baseline: str, shown: int) -> pd.DataFrame:
    """Of `mean_curve`, per set the baseline's curve and those of the `shown` best strategies.

    The best are those with the largest area, or without a comparison with the highest last score. The
    baseline may have more labels than the rest: curves end where the rest ends.
    """
    parts = []
    for of, part in mean.groupby("set", sort=False):
        ranked = list(comparison[comparison["set"] == of].strategy)
        last = part.groupby("strategy", sort=False).score.last().sort_values(ascending=False, kind="stable")
        best = [name for name in [*ranked, *last.index] if name != baseline]
        best = list(dict.fromkeys(best))[:shown]
        rows = pd.concat([part[part.strategy == name] for name in [baseline, *best]])
        end = part[part.strategy.isin(best)].labels.max() if best else part.labels.max()
        parts.append(rows[rows.labels <= end])
    return pd.concat(parts, ignore_index=True)


def _gain(curve: pd.DataFrame, rival: pd.DataFrame, upto: int, seed: int) -> dict[str, float]:
    """Area of a curve (seeds, rounds) and its gain over a rival on the same seeds."""
    labels = [n for n in curve.columns.intersection(rival.columns) if n <= upto]
    if len(labels) < 2:
        raise UserError("Curves need two rounds that every seed and the baseline reached: an area lies between them.")
    ours, theirs = (area(np.array(labels), c[labels].to_numpy()) for c in (curve, rival))
    row = {}
    for name, values in {"area": ours, "gain": ours - theirs}.items():
        row |= _estimate(name, values.mean(), bootstrap_draws(np.mean, values, draws=DRAWS, seed=seed))
    return row | {"p": paired_p(ours - theirs)}


def _labels_needed(curve: pd.DataFrame, rival: pd.DataFrame, full: float, seed: int) -> dict[str, float]:
    """Labels at which a curve (seeds, rounds) reaches each level, and their share of a rival's."""
    row = {}
    for level in LEVELS:
        name = f"{100 * level:.0f}"
        value, draws = _labels_to_level(curve, level * full, seed)
        rival_value, rival_draws = _labels_to_level(rival, level * full, seed)
        row |= _estimate(f"to_{name}", value, draws)
        if np.isfinite([rival_value, *rival_draws]).all():
            row |= _estimate(f"ratio_{name}", value / rival_value, draws / rival_draws)
    return row


def _labels_to_level(curve: pd.DataFrame, level: float, seed: int) -> tuple[float, np.ndarray]:
    """Labels at which the mean curve over seeds reaches a level, and its bootstrap draws."""
    scores = curve.to_numpy()

    def labels_needed(seeds: np.ndarray, axis: int) -> np.ndarray:
        return labels_to(curve.columns, scores[seeds].mean(-2), level)

    every_seed = np.arange(len(scores))
    return float(labels_needed(every_seed, -1)), bootstrap_draws(labels_needed, every_seed, draws=DRAWS, seed=seed)


def _estimate(name: str, value: float, draws: np.ndarray) -> dict[str, float]:
    """A value with its 95 % percentile interval, which may end at infinity: never reached."""
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def mean_curve(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean score over seeds, with 95 % bootstrap interval, by set, strategy and number of labels.

    With a single seed it is the one over rows, `low` and `high` of the table, where it has them.
    """
    rows = []
    for (of, name, labels), part in table.groupby(["set", "strategy", "labels"], sort=False):
        values = part.score.to_numpy(dtype=float)
        if len(part) == 1 and {"low", "high"} <= {*part.dropna(axis=1)}:
            low, high = part[["low", "high"]].iloc[0]
        else:
            low, high = bootstrap_interval(np.mean, values, seed=seed)
        row = {"set": of, "strategy": name, "labels": labels, "score": values.mean(), "seeds": len(values)}
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)


def from_runs(folders: list[Path]) -> pd.DataFrame:
    """The rounds of 03 in several run folders; a `set` is a task, a learner, a model, the data where they differ, and a score."""
    rows, data = [], data_names(folders)
    for folder in folders:
        stage = next((f for f in folder.glob("03_*") if (f / "rounds.jsonl").exists()), folder)
        manifest = run.read_manifest(stage)
        if manifest is None:
            raise UserError(f"{folder} has no finished rounds: run 03 with run_id={folder.name!r} first.")
        rows += _round_rows(folder, manifest["parameters"], files.read_jsonl(stage / "rounds.jsonl"), data[folder])
    table = pd.DataFrame(
        rows, columns=["set", "run", "demo", "seed", "strategy", "labels", "score", "low", "high", *COSTS]
    )
    _refuse_two_of_one_seed(table)
    table = table.drop_duplicates([*COLUMNS])  # every strategy's run may bring the same random curve
    return table.sort_values("set", kind="stable", ignore_index=True)


def _refuse_two_of_one_seed(table: pd.DataFrame) -> None:
    """Raise UserError where two runs of one set, strategy and seed have other scores, and neither only went on from the other."""
    for (_, strategy, seed), part in table.groupby(["set", "strategy", "seed"], sort=False):
        curves = {
            run_id: set(zip(own.labels, own.score, strict=True)) for run_id, own in part.groupby("run", sort=False)
        }
        longest = max(curves, key=lambda name: len(curves[name]))
        for run_id, curve in curves.items():
            if not curve <= curves[longest]:
                shared = f"the seed and the strategy of run {longest} (seed={seed}, {strategy}) and other scores"
                raise UserError(f"Run {run_id} has {shared}: name the runs to compare in the parameter runs.")


def data_names(folders: list[Path]) -> dict[Path, str]:
    """Run folder → what its data are called, '' for every run where all have the same.

    Two runs have the same data where their evaluation rows are the same, or were drawn from the same table in the same
    way: other seeds draw other rows of it.
    """
    groups: list[tuple[set[str], list[Path]]] = []  # what marks some data, and the runs that have them
    for folder in folders:
        marks, members = _marks(folder), [folder]
        for group in [group for group in groups if group[0] & marks]:
            groups.remove(group)
            marks, members = marks | group[0], [*group[1], *members]
        groups.append((marks, members))
    if len(groups) < 2:
        return dict.fromkeys(folders, "")
    names = [_source(members[0]) for _, members in groups]
    counts = Counter(names)
    told = [
        name if counts[name] == 1 else f"{name} {files.digest(sorted(marks))[:8]}"
        for name, (marks, _) in zip(names, groups, strict=True)
    ]
    return {folder: name for name, (_, members) in zip(told, groups, strict=True) for folder in members}


def _marks(folder: Path) -> set[str]:
    """What shows that two runs have the same data: hashes of the evaluation rows, and of the table with how it was split."""
    first = folder / pipeline.STAGES["01"]
    rows = {p.stem: files.read_jsonl(p) for p in (first / "validation.jsonl", first / "test.jsonl") if p.exists()}
    marks = {files.digest({name: sorted([r["id"], r.get("label")] for r in of) for name, of in rows.items()})}
    if manifest := run.read_manifest(first):
        parameters = manifest["parameters"]
        split = {name: parameters[name] for name in SPLIT if parameters.get(name)}  # one of before a parameter has none
        tables = {name: sha for name, sha in manifest["inputs"].items() if Path(name).name == _source(folder)}
        marks.add(files.digest([*tables.values()] or [parameters.get("data_path", "")]) + files.digest(split))
    return marks


def _source(folder: Path) -> str:
    """The name of a run's table in one line, as the name of a set may hold it."""
    manifest = run.read_manifest(folder / pipeline.STAGES["01"]) or {"parameters": {}}
    return one_line(source_name(manifest["parameters"].get("data_path", ""))).replace(": ", " ") or "other data"


def last_rounds(rounds: list[dict]) -> list[dict]:
    """The rounds of a run, and of those with as many labels the last: a model trained anew on them takes its place."""
    return list({(r["strategy"], r.get("labels", r.get("targets"))): r for r in rounds}.values())


def _round_rows(folder: Path, parameters: dict, rounds: list[dict], data: str) -> list[dict]:
    """The rows of one run: each round once per score."""
    task, model = parameters["task"], Path(parameters["model"]).name
    if parameters["model"].startswith("embedded:"):
        model = "embedded base"
    model += f", {data}" if data else ""
    rows, demo = [], is_demo(parameters, folder)
    for r in last_rounds(rounds):
        common = {"run": folder.name, "seed": parameters["seed"], "demo": demo, "strategy": r["strategy"]} | {
            c: r.get(c) for c in COSTS
        }
        if "macro_f1" in r:
            score = {"labels": r["labels"], "score": r["macro_f1"], "low": r.get("low"), "high": r.get("high")}
            rows.append(common | score | {"set": f"{task}, {parameters['learner']}, {model}"})
            continue
        for measure in GENERATION:
            bounds = {"low": r[f"{measure}_low"], "high": r[f"{measure}_high"]}
            score = {"labels": r["targets"], "score": r[measure]} | bounds
            rows.append(common | score | {"set": f"{task}, {model}: {measure}"})
    return rows


def is_demo(parameters: dict, folder: Path) -> bool:
    """Whether a run of 03 learns the embedded job ads with the embedded base: what the committed curves show.

    `folder` is that of the run; its validation rows say which data they are.
    """
    validation = folder / pipeline.STAGES["01"] / "validation.jsonl"
    if parameters.get("learner") != "qlora" or not parameters["model"].startswith(embedded.PREFIX):
        return False
    texts = {r["text"] for r in files.read_jsonl(validation)} if validation.exists() else set()
    return bool(texts) and texts <= {clean(r["text"]) for r in embedded.gold()}


def seed_band(strategy: str, upto: int) -> pd.DataFrame:
    """The committed curves of the embedded job ads: labels, low, high and seeds, to `upto` labels.

    From the lowest to the highest macro-F1 on the test rows. A strategy that has none gets that of random.
    """
    table = from_csv(embedded.CURVES)
    table = table[table.strategy == (strategy if strategy in set(table.strategy) else "random")]
    band = table.groupby("labels").score.agg(low="min", high="max", seeds="size").reset_index()
    return band[band.labels <= upto].assign(strategy=f"{table.strategy.iloc[0]} on labels alone")


def describe_band(band: pd.DataFrame) -> str:
    """What one draw is worth, from `seed_band`."""
    if band.empty:
        return "The committed curves begin at 50 labels: this run has fewer."
    last = band.iloc[-1]
    return (
        f"Grey: from the lowest to the highest of {last.seeds} seeds of {last.strategy} (committed benchmark, test rows, "
        "batches of 50, without the rules' marks, the base of before, forms for everyone counted). "
        f"At {last.labels} labels they span {last.low:.3f}–{last.high:.3f}: "
        "one run is one draw, and a smaller difference between two runs says nothing."
    )


def from_csv(path: Path) -> pd.DataFrame:
    """A table of curves from a CSV file: set, strategy, seed and a column per number of labels.

    For generation it has the columns learner, labels and the scores instead of the latter.
    """
    table, common = pd.read_csv(path), [*COLUMNS[:3]]
    needed = "it needs set, strategy, seed and one column per number of labels"
    if missing := [c for c in common if c not in table.columns]:
        raise UserError(f"{path} has no column {missing[0]}: {needed}.")
    if measures := [m for m in GENERATION if m in table.columns]:
        table = table.melt([*common, "learner", "labels"], measures, var_name="measure", value_name="score")
        table["set"] = table["set"] + ", " + table.learner + ": " + table.measure
    else:
        table = table.melt(common, var_name="labels", value_name="score")
    table = table[[*COLUMNS]].dropna().astype({"labels": int})
    return table.sort_values([*COLUMNS[:4]], ignore_index=True)


def final_scores(folders: list[Path]) -> pd.DataFrame:
    """Test scores from 04: one row per model or system, one column per score and run."""
    tables = []
    for path in (p for folder in folders for p in folder.glob("04_*/headline.csv")):
        table = pd.read_csv(path).rename(columns={"system": "model"}).assign(run=path.parents[1].name)
        scores = [c for c in ("macro_f1", "strict", *GENERATION) if c in table]
        tables.append(table.melt(["model", "run"], scores, var_name="score"))
    if not tables:
        return pd.DataFrame()
    return pd.concat(tables).pivot_table("value", "model", ["score", "run"], sort=False)


def describe_gain(row: pd.Series, baseline: str = "random") -> str:
    """A row of `compare` in words: the gain with its interval, and whether chance explains it."""
    if row.seeds < 2:
        return f"{row.strategy} {row.gain:+.3f} against {baseline} on one seed, which cannot rule out chance."
    excludes_zero = row.gain_low * row.gain_high > 0
    if excludes_zero and row.seeds < 6:  # the sign-flip test has 2 ** seeds outcomes
        verdict = "the interval excludes zero, but p < 0.05 needs at least six seeds"
    elif excludes_zero and row.p < 0.05:
        verdict = "more than chance"
    else:
        verdict = "it may be chance"
    interval = f"{row.gain:+.4f} [{row.gain_low:+.4f}, {row.gain_high:+.4f}]"
    return f"{row.strategy} {interval} against {baseline} on {row.seeds} seeds, p = {row.p:.3f}: {verdict}."


def format_labels(value: float, form: str = ".0f") -> str:
    """Labels, or a ratio, from a row of `compare`: infinity was not reached, NaN has no baseline."""
    return "–" if np.isnan(value) else "not reached" if np.isinf(value) else format(value, form)


def full_scores(path: Path, sets: Collection[str]) -> dict[str, float]:
    """The score of all labels on each of the sets, from a JSON file with them under `full`; raises UserError on another."""
    scores = files.read_json(path)
    scores = scores.get("full") if isinstance(scores, dict) else None
    known = {name: score for name, score in scores.items() if name in sets} if isinstance(scores, dict) else {}
    if not known or not all(type(score) in (int, float) and 0 <= score <= 1 for score in known.values()):
        form = f'{{"full": {{"{next(iter(sets), "test")}": 0.9}}}}'
        raise UserError(f"{path} (parameter full_json) has no scores of these sets: it is to read like {form}.")
    return known
