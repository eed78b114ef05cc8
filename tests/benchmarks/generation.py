"""Which texts to have rewritten: cluster-based selection (Hassan et al. 2024) against six others at equal budgets.

    python -m tests.benchmarks.generation [rewriting paradetox] [--learner writer] [--only NAME ...] [--seeds 0 1 ...]
        [--work FOLDER] [--report]

All strategies share pool, first rows, batches, seeds, scorer and learner, and the loop calls the functions of
`03_active_generation`. Each finished curve is one line of WORK/curves.jsonl, so an interrupted run goes on where it
stopped. `--report` writes `generation.csv` (means, gains over random, intervals, paired tests), `generation_curves.csv`
(every round) and `generation.json` (configuration).

ParaDetox is read as published from $AMBO_BENCH_DATA/paradetox/paradetox.tsv. It has no subgroups: clusters of the test
texts stand in for them. The embedded base knows only Italian, so the learner on ParaDetox is the edit tagger.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import files, run
from helpers.data import embedded, records, tables
from helpers.evaluation import curves, textstats
from helpers.evaluation import generation as metrics
from helpers.evaluation.edit_tagger import EditTagger
from helpers.evaluation.intervals import bootstrap_interval
from helpers.italian import requirements
from helpers.query import arrays, strategies
from helpers.synthesis.scorer import Scorer, lexicon_score, pair_sides, remembering, tfidf_scorer
from helpers.task import make_task
from tests.benchmarks.active_learning import embedder, with_other_sets
from tests.benchmarks.recipes import recipe

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
MEASURES = ("compliance", "strict", "chrF", "edit F1", "spread", "worst group", "distinct-2")
STRATEGIES = ["random", "hassan", "hassan_proportional", "top_n", "cluster_random", "nll", "idds", "core_set"]
# first pairs, pairs a batch, batches, and pool rows that a round looks at
BUDGETS = {
    "rewriting": {"start": 30, "batch": 30, "rounds": 5, "candidates": 729},
    "paradetox": {"start": 100, "batch": 100, "rounds": 4, "candidates": 1000},
}
WRITER = {"batch": 60, "rounds": 2}  # a round of the 4-bit learner takes minutes on a CPU


@dataclass
class Data:
    """Pool and test rows with their targets, and what the loop and the measures need."""

    pool: list[dict]
    test: list[dict]
    embeddings: np.ndarray  # of the pool, float (rows, dimensions)
    scorer: Scorer  # R, which scores the interim outputs
    judge: Scorer  # scores the test outputs
    groups: list[str]  # of the test rows
    start: int
    batch: int
    rounds: int
    candidates: int  # pool rows that a round looks at, drawn anew
    check: str = ""  # name of the strict check of the test outputs


# --- the sets ---------------------------------------------------------------------------------------------------------


def rewriting(work: Path) -> Data:
    """The embedded pairs: 729 to choose from, validation and test rows (190) to test on; R is the cue lexicon."""
    rows = tables.to_records(embedded.read_embedded(embedded.REWRITES), task("inclusive_rewriting_it"))
    pool = [r for r in rows if r["split"] == "pool"]
    test = [r for r in rows if r["split"] != "pool"]
    embeddings = embedder("demo", work)([r["text"] for r in pool])
    judge = remembering(lexicon_score)
    groups = [r["gender_form"] for r in test]
    return Data(pool, test, embeddings, judge, judge, groups, check="italian", **BUDGETS["rewriting"])


def paradetox(work: Path) -> Data:
    """ParaDetox: R is trained on 1,000 pairs, the judge of the test outputs on 4,000 others; 500 test rows."""
    settings = task("detoxification")
    path = str(Path(os.environ["AMBO_BENCH_DATA"]) / "paradetox" / "paradetox.tsv")
    rows = records.drop_exact_duplicates(tables.to_records(tables.read_table(path, "toxic"), settings))
    rows = [r for r in rows if "references" in r]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for_scorer, for_judge, test, pool = rows[:1000], rows[1000:5000], rows[5000:5500], rows[5500:]
    scorer, judge = (remembering(tfidf_scorer(pair_sides(part))) for part in (for_scorer, for_judge))
    embed = embedder("minilm", work)
    groups = [f"{k}" for k in arrays.kmeans(embed([r["text"] for r in test]), 10, seed=0)]
    return Data(pool, test, embed([r["text"] for r in pool]), scorer, judge, groups, **BUDGETS["paradetox"])


def task(name: str) -> dict:
    """The parameters of a task file, with defaults for those that only some files name."""
    path = ROOT / "params" / "tasks" / f"{name}.yaml"
    return {"id_column": "", "validation_split": "", "test_split": ""} | yaml.safe_load(path.read_text())


SETS = {f.__name__: f for f in (rewriting, paradetox)}


# --- one curve --------------------------------------------------------------------------------------------------------


def draw_curve(data: Data, strategy: str, seed: int, make_learner: Callable[[int], object]) -> list[dict]:
    """The measures of every round of one strategy: fit, write, score, select, and again."""
    known = np.random.default_rng([seed, 0]).permutation(len(data.pool))[: data.start]
    learner, rows = make_learner(seed), []
    for number in range(data.rounds + 1):
        started = time.perf_counter()
        learner.fit([data.pool[i] for i in known], seed)
        row = {"labels": len(known), **measures(data, learner)}
        if number < data.rounds:
            known = np.concatenate([known, choose(data, strategy, known, learner, seed + 1000 * number)])
        elif not isinstance(learner, EditTagger):
            row |= carried_over(data, known)
        rows.append(row | {"seconds": round(time.perf_counter() - started, 2)})
    return rows


def choose(data: Data, strategy: str, known: np.ndarray, learner, seed: int) -> np.ndarray:
    """Positions in the pool of the next batch."""
    open_rows = np.setdiff1d(np.arange(len(data.pool)), known)
    candidates = np.random.default_rng(seed).permutation(open_rows)[: data.candidates]
    texts, needs = [data.pool[i]["text"] for i in candidates], {*strategies.inputs_of(strategy)}
    inputs = {"embeddings": data.embeddings[candidates], "labelled": data.embeddings[known]}
    if needs & {"compliance", "nll"}:
        interim = learner.write(texts)
        if "compliance" in needs:
            inputs["compliance"] = data.scorer(interim)
        else:
            inputs["nll"] = learner.nll(texts, interim)
    picks = candidates[strategies.select(strategy, len(candidates), data.batch, seed, **inputs)]
    assert len(set(picks) - set(known)) == data.batch, strategy
    return picks


def carried_over(data: Data, known: np.ndarray) -> dict[str, float]:
    """The scores of the edit tagger, trained on what was acquired for another learner."""
    tagger = EditTagger()
    tagger.fit([data.pool[i] for i in known])
    scores = measures(data, tagger)
    return {f"tagger {name}": scores[name] for name in ("compliance", "chrF")}


def measures(data: Data, learner) -> dict[str, float]:
    """The scores of what a learner writes for the test rows, rounded; `spread` is between groups of ten rows or more."""
    outputs = learner.write([r["text"] for r in data.test])
    checks = metrics.run_checks(data.check, data.test, outputs)
    table = metrics.judge_outputs(data.test, outputs, data.judge, checks=checks)
    scores = metrics.figures(table, diversity=False) | {"distinct-2": textstats.distinct_n(outputs, 2)}
    groups = table.compliance.groupby(np.array(data.groups)).agg(["mean", "size"])
    large = groups[groups["size"] >= 10]["mean"]
    scores |= {"spread": large.max() - large.min(), "worst group": large.min()}
    names = (*MEASURES, "BLEU", "exact match", "copied", "empty")
    return {name: round(float(scores[name]), 4) for name in names if name in scores}


def writer() -> Callable[[int], object]:
    """The 4-bit learner of the demo, loaded once: `fit` starts from fresh adapters every time."""
    from helpers.core.writer import Writer

    settings = recipe("demo_generation", "03_active_generation", patience=0, holdout=0.0)
    drafters = {"italian": requirements.inclusive}
    learner = Writer(make_task(task("inclusive_rewriting_it")), settings, drafters=drafters)
    return lambda seed: learner


LEARNERS = {"tagger": lambda: lambda seed: EditTagger(), "writer": writer}


# --- the report -------------------------------------------------------------------------------------------------------


def long_table(lines: list[dict]) -> pd.DataFrame:
    """One row per round."""
    columns = ("set", "learner", "strategy", "seed")
    parts = [pd.DataFrame(line["curve"]).assign(**{c: line[c] for c in columns}) for line in lines]
    return pd.concat(parts, ignore_index=True)


def against_random(table: pd.DataFrame) -> pd.DataFrame:
    """Every strategy's measures and their gains over random on the same seeds.

    Returns
    -------
    DataFrame
        One row per set, learner, strategy and measure. `mean` is over the rounds after the first, which all strategies
        share; `gain` has a 95 % bootstrap interval over seeds (`low`, `high`) and the `p` of the sign-flip test;
        `relative` is the gain over random's mean; `last` and `last_gain` are after the last batch.
    """
    rows = []
    for (of, learner), part in table.groupby(["set", "learner"], sort=False):
        part = part[part.labels > part.labels.min()]
        measured = [m for m in MEASURES if m in part and part[m].notna().any()]
        for strategy, measure in product(part.strategy.unique(), measured):
            present = part.dropna(subset=[measure])
            curve, random = (curves.wide(present, of, name, measure) for name in (strategy, "random"))
            seeds = curve.index.intersection(random.index)
            if not len(seeds):
                continue  # not run yet
            row = {"set": of, "learner": learner, "strategy": strategy, "measure": measure, "seeds": len(seeds)}
            rows.append(row | gain_over_random(curve.loc[seeds], random.loc[seeds]))
    return pd.DataFrame(rows)


def gain_over_random(curve: pd.DataFrame, random: pd.DataFrame) -> dict[str, float]:
    """Mean and gain of a strategy; both curves have one row per seed and one column per round."""
    gap, random_mean = (curve - random).mean(axis=1).to_numpy(), random.to_numpy().mean()
    low, high = bootstrap_interval(np.mean, gap, draws=2000)
    last, random_last = curve.iloc[:, -1].mean(), random.iloc[:, -1].mean()
    return {
        "mean": curve.to_numpy().mean(),
        "gain": gap.mean(),
        "low": low,
        "high": high,
        "relative": gap.mean() / random_mean if random_mean else float("nan"),
        "p": curves.paired_p(gap),
        "last": last,
        "last_gain": last - random_last,
    }


def report(lines: list[dict]) -> None:
    """Write the summary, the curves and the configuration; rows of other sets stay. Print the summary."""
    table = long_table(lines)
    summary = against_random(table).round(4)
    for path, part in ((RESULTS / "generation.csv", summary), (RESULTS / "generation_curves.csv", table)):
        files.write_csv(path, with_other_sets(path, part))
    facts = {
        "sets": {f.__name__: f.__doc__ for f in SETS.values()},
        "budgets": BUDGETS,
        "writer": WRITER,
        "measures": MEASURES,
        "strategies": STRATEGIES,
    }
    packages = [*run.PACKAGES, "numpy", "sacrebleu"]
    files.write_json(RESULTS / "generation.json", facts | {"packages": {p: run.version(p) for p in packages}})
    for measure in MEASURES:
        part = summary[summary.measure == measure].drop(columns="measure").sort_values(["set", "learner", "mean"])
        print(f"\n{measure}\n{part.to_string(index=False)}")


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], default=[])
    parser.add_argument("--learner", choices=LEARNERS, default="tagger")
    parser.add_argument("--only", nargs="+", default=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-gen")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "curves.jsonl"
    lines = files.read_jsonl(path) if path.exists() else []
    for of in args.sets or default_sets():
        lines += draw_missing(of, args, lines, path)
    if args.report:
        report(lines)


def default_sets() -> list[str]:
    """The embedded set, and ParaDetox where its folder is named."""
    return [*SETS] if "AMBO_BENCH_DATA" in os.environ else ["rewriting"]


def draw_missing(of: str, args: argparse.Namespace, lines: list[dict], path: Path) -> list[dict]:
    """Draw and save the curves of a set that are not among `lines`; returns theirs."""
    done = {(line["set"], line["learner"], line["strategy"], line["seed"]) for line in lines}
    data, make_learner = SETS[of](args.work), LEARNERS[args.learner]()
    if args.learner == "writer":
        data = replace(data, **WRITER)
    new_lines = []
    for seed, strategy in product(args.seeds, args.only):  # seed by seed: what is there can be compared at any time
        if (of, args.learner, strategy, seed) in done:
            continue
        curve = draw_curve(data, strategy, seed, make_learner)
        line = {"set": of, "learner": args.learner, "strategy": strategy, "seed": seed, "curve": curve}
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        new_lines.append(line)
        last = {m: curve[-1][m] for m in MEASURES if m in curve[-1]}
        print(f"{of} {strategy:20} seed {seed} {last} {sum(row['seconds'] for row in curve):.0f} s", flush=True)
    return new_lines


if __name__ == "__main__":
    main()
