"""Which texts to have rewritten: cluster-based selection (Hassan et al. 2024) against six others at an equal budget.

    python -m tests.benchmarks.generation [rewriting paradetox] [--learner writer] [--only NAME ...] [--seeds 0 1 ...]
        [--work FOLDER] [--report]

Every strategy has the same pool, first rows, batches, seeds, scorer and learner; the loop calls what `03_active_generation` calls.
A line a curve goes to WORK/curves.jsonl once it is drawn: a run that was cut off goes on. `--report` writes `generation.csv`
(means, gains over random, intervals, paired tests), `generation_curves.csv` (every round) and `generation.json` (configuration).

ParaDetox is read as published from $AMBO_BENCH_DATA/paradetox/paradetox.tsv. It has no subgroups: clusters of the test texts stand
for them. The embedded base knows Italian only, so on ParaDetox the learner is the edit tagger.
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
from helpers.core.recipe import Recipe
from helpers.data import embedded, records, tables
from helpers.evaluation import curves, textstats
from helpers.evaluation import generation as metrics
from helpers.evaluation.edit_tagger import EditTagger
from helpers.italian import requirements
from helpers.query import arrays
from helpers.query import strategies_generation as acquire
from helpers.synthesis.scorer import Scorer, lexicon_score, pair_sides, remembering, tfidf_scorer
from helpers.task import make_task
from tests.benchmarks.active_learning import embedder, with_other_sets

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
    x: np.ndarray  # embeddings of the pool
    scorer: Scorer  # R, of the interim outputs
    judge: Scorer  # of the test outputs
    groups: list[str]  # of the test rows
    start: int
    batch: int
    rounds: int
    candidates: int  # pool rows that a round looks at, drawn anew
    check: str = ""  # the strict check of the test outputs


# --- the sets ---------------------------------------------------------------------------------------------------------


def rewriting(work: Path) -> Data:
    """The embedded pairs: 729 to choose from, validation and test rows (190) to test on; R is the cue lexicon."""
    rows = tables.to_records(embedded.read_embedded(embedded.REWRITES), task("inclusive_rewriting_it"))
    pool, test = ([r for r in rows if (r["split"] == "pool") == inside] for inside in (True, False))
    x = embedder("demo", work)([r["text"] for r in pool])
    judge = remembering(lexicon_score)
    groups = [r["gender_form"] for r in test]
    return Data(pool, test, x, judge, judge, groups, check="italian", **BUDGETS["rewriting"])


def paradetox(work: Path) -> Data:
    """ParaDetox: R is trained on 1,000 pairs, the judge of the test outputs on 4,000 others; 500 test rows."""
    settings = task("detoxification")
    path = str(Path(os.environ["AMBO_BENCH_DATA"]) / "paradetox" / "paradetox.tsv")
    rows = records.drop_exact_duplicates(tables.to_records(tables.read_table(path, "toxic"), settings))
    rows = [r for r in rows if "references" in r]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    ours, theirs, test, pool = rows[:1000], rows[1000:5000], rows[5000:5500], rows[5500:]
    scorer, judge = (remembering(tfidf_scorer(pair_sides(part))) for part in (ours, theirs))
    embed = embedder("minilm", work)
    groups = [f"{k}" for k in arrays.kmeans(embed([r["text"] for r in test]), 10, seed=0)]
    return Data(pool, test, embed([r["text"] for r in pool]), scorer, judge, groups, **BUDGETS["paradetox"])


def task(name: str) -> dict:
    path = ROOT / "params" / "tasks" / f"{name}.yaml"
    return {"id_column": "", "validation_split": "", "test_split": ""} | yaml.safe_load(path.read_text())


SETS = {f.__name__: f for f in (rewriting, paradetox)}


# --- one curve --------------------------------------------------------------------------------------------------------


def draw(here: Data, name: str, seed: int, make: Callable[[int], object]) -> list[dict]:
    """The measures of every round of one strategy: fit, write, score, select, and again."""
    have = np.random.default_rng([seed, 0]).permutation(len(here.pool))[: here.start]
    learner, rows = make(seed), []
    for number in range(here.rounds + 1):
        started = time.perf_counter()
        learner.fit([here.pool[i] for i in have], seed)
        rows.append({"labels": len(have), **measures(here, learner)})
        if number == here.rounds and not isinstance(learner, EditTagger):
            rows[-1] |= carried_over(here, have, seed)
        if number < here.rounds:
            have = np.concatenate([have, choose(here, name, have, learner, seed + 1000 * number)])
        rows[-1]["seconds"] = round(time.perf_counter() - started, 2)
    return rows


def choose(here: Data, name: str, have: np.ndarray, learner, seed: int) -> np.ndarray:
    """Positions in the pool of the next batch."""
    free = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(len(here.pool)), have))[: here.candidates]
    texts, needs, known = [here.pool[i]["text"] for i in free], acquire.needs(name), {"labelled": here.x[have]}
    if needs & {"compliance", "nll"}:
        interim = learner.write(texts)
        known |= {"compliance": here.scorer(interim)} if "compliance" in needs else {"nll": learner.nll(texts, interim)}
    picks = free[acquire.select(name, here.x[free], here.batch, seed, **known)]
    assert len(set(picks) - set(have)) == here.batch, name
    return picks


def carried_over(here: Data, have: np.ndarray, seed: int) -> dict[str, float]:
    """The measures of the edit tagger, trained on what was acquired for another learner."""
    second = EditTagger(seed)
    second.fit([here.pool[i] for i in have])
    return {f"tagger {name}": value for name, value in measures(here, second).items() if name in ("compliance", "chrF")}


def measures(here: Data, learner) -> dict[str, float]:
    outputs = learner.write([r["text"] for r in here.test])
    table = metrics.judge_outputs(
        here.test, outputs, here.judge, checks=metrics.run_checks(here.check, here.test, outputs)
    )
    found = metrics.figures(table, diversity=False) | {"distinct-2": textstats.distinct_n(outputs, 2)}
    groups = table.compliance.groupby(np.array(here.groups)).agg(["mean", "size"])
    large = groups[groups["size"] >= 10]["mean"]
    found |= {"spread": large.max() - large.min(), "worst group": large.min()}
    return {
        name: round(float(found[name]), 4)
        for name in (*MEASURES, "BLEU", "exact match", "copied", "empty")
        if name in found
    }


def writer() -> Callable[[int], object]:
    """The 4-bit learner of the demo, loaded once: `fit` starts from fresh adapters every time."""
    from helpers.core.writer import Writer

    profile = yaml.safe_load((ROOT / "params" / "profiles" / "demo_generation.yaml").read_text())
    settings = {"patience": 0, "holdout": 0.0} | profile
    what = make_task(task("inclusive_rewriting_it"))
    learner = Writer(what, Recipe.from_params(settings), drafters={"italian": requirements.inclusive})
    return lambda seed: learner


LEARNERS = {"tagger": lambda: EditTagger, "writer": writer}


# --- all of them ------------------------------------------------------------------------------------------------------


def long_table(lines: list[dict]) -> pd.DataFrame:
    """A row a round."""
    parts = [
        pd.DataFrame(r["curve"]).assign(**{c: r[c] for c in ("set", "learner", "strategy", "seed")}) for r in lines
    ]
    return pd.concat(parts, ignore_index=True)


def against_random(table: pd.DataFrame, draws: int = 2000) -> pd.DataFrame:
    """One row a set, learner, strategy and measure: mean height of the curve after the first round, and its gain over random.

    On the same seeds, with a 95 % bootstrap interval over seeds and the p of the sign-flip test; `relative` is the gain over
    random's mean; `last` and `last_gain` are after the last batch.
    """
    rows = []
    for (of, learner), part in table.groupby(["set", "learner"], sort=False):
        part = part[part.labels > part.labels.min()]  # the first round is the same for all
        measured = [m for m in MEASURES if m in part and part[m].notna().any()]
        for name, measure in product(part.strategy.unique(), measured):
            known = part.dropna(subset=[measure])
            ours, theirs = (curves.wide(known, of, n, measure) for n in (name, "random"))
            seeds = ours.index.intersection(theirs.index)
            if not len(seeds):
                continue  # not run yet
            ours, theirs = ours.loc[seeds], theirs.loc[seeds]
            gap, random = (ours - theirs).mean(axis=1).to_numpy(), theirs.to_numpy().mean()
            row = {"set": of, "learner": learner, "strategy": name, "measure": measure, "seeds": len(seeds)}
            row |= {"mean": ours.to_numpy().mean(), "gain": gap.mean()}
            row |= dict(zip(("low", "high"), metrics.bounds(gap, draws), strict=True))
            row |= {"relative": gap.mean() / random if random else float("nan"), "p": curves.paired_p(gap)}
            last = [curve.iloc[:, -1].mean() for curve in (ours, theirs)]
            rows.append(row | {"last": last[0], "last_gain": last[0] - last[1]})
    return pd.DataFrame(rows)


def report(lines: list[dict]) -> None:
    """Write the summary, the curves and the configuration, beside what is there of other sets; print the summary."""
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
        shown = summary[summary.measure == measure].drop(columns="measure").sort_values(["set", "learner", "mean"])
        print(f"\n{measure}\n{shown.to_string(index=False)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], default=[])
    parser.add_argument("--learner", choices=LEARNERS, default="tagger")
    parser.add_argument("--only", nargs="+", default=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-gen")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    file, sets = args.work / "curves.jsonl", args.sets or [*SETS][: 1 + ("AMBO_BENCH_DATA" in os.environ)]
    args.work.mkdir(parents=True, exist_ok=True)
    lines = files.read_jsonl(file) if file.exists() else []
    done = {(r["set"], r["learner"], r["strategy"], r["seed"]) for r in lines}
    for of in sets:
        here, make = SETS[of](args.work), LEARNERS[args.learner]()
        here = replace(here, **WRITER) if args.learner == "writer" else here
        for seed in args.seeds:  # seed by seed: what is there can be compared at any time
            for name in (n for n in args.only if (of, args.learner, n, seed) not in done):
                curve = draw(here, name, seed, make)
                lines.append({"set": of, "learner": args.learner, "strategy": name, "seed": seed, "curve": curve})
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(lines[-1]) + "\n")
                last, took = curve[-1], sum(r["seconds"] for r in curve)
                print(
                    f"{of} {name:20} seed {seed} { ({m: last[m] for m in MEASURES if m in last}) } {took:.0f} s",
                    flush=True,
                )
    if args.report:
        report(lines)


if __name__ == "__main__":
    main()
