"""Gain from synthetic rows on the hand-written test rows, compared with as many duplicates of seed rows: 5 seeds.

    python -m tests.benchmarks.synthetic [--seed-size 100] [--seeds 5] [--qlora]

Writes `tests/benchmarks/results/synthetic.json` and prints a table. The steps are those of `02_synthetic_expansion` with the
embedded generator and without perplexity bounds; `--qlora` trains the demo's detector on every set as well, a minute or two each.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import files, run
from helpers.core import probe
from helpers.core.cache import cached
from helpers.core.qlora import QLoRA
from helpers.core.recipe import Recipe
from helpers.data import embedded, tables
from helpers.evaluation import baselines
from helpers.italian.cues import find_cues
from helpers.synthesis import brief, embedded_writer, endpoint, filters, methods, worth
from helpers.task import Task, make_task
from tests.benchmarks.recipes import recipe

ROOT = Path(__file__).parents[2]


def synthetic_rows(
    seed_rows: list[dict], pool: list[dict], evaluation: list[dict], task: Task, seed: int
) -> list[dict]:
    """Accepted rows made from one seed set, by every rule and by the embedded generator."""
    instructions = brief.read_brief("embedded:italian_jobs/brief.yaml", task)
    thin = brief.thin_cells(seed_rows, "sector", task.labels, pool)
    requests = brief.plan_requests(thin, instructions, [r["text"] for r in [*seed_rows, *pool]], 100, seed)
    writer = endpoint.Local(partial(embedded_writer.write, seed=seed))
    candidates = methods.counterfactuals(seed_rows, task, "it")
    candidates += methods.few_shot(writer, requests, seed_rows, task, instructions, "it", seed)[0]
    judges = {
        "rules": filters.cross_fitted_judge(lambda: baselines.tfidf(task), seed_rows, seed=seed),
        "teacher": partial(filters.learner_judge, predict_proba=baselines.Lexicon(task, find_cues).predict_proba),
    }
    steps = {
        "not seen": partial(filters.not_exact_duplicates, known=seed_rows),
        "no near-duplicate": partial(filters.not_near_duplicates, known=seed_rows, threshold=0.8),
        "no leak": partial(filters.no_leaks, evaluation=evaluation),
        "judge agrees": partial(filters.label_agrees, judges=judges, task=task, floor=0.2),
        "per parent": partial(filters.at_most_per_parent, limit=4),
    }
    return filters.apply_filters(candidates, steps)[0]


def measure_gains(settings: dict, recipe: Recipe, args: argparse.Namespace) -> tuple[pd.DataFrame, dict]:
    """(gains by learner, seed and training set; facts of the base model)."""
    task = make_task(settings)
    records = tables.to_records(embedded.job_ads_table(1500, 13), settings | {"id_column": ""})
    pool = [r for r in records if r["split"] == "pool"]
    evaluation = [r for r in records if r["split"] != "pool"]
    test = [r for r in evaluation if r["split"] == "test"]
    base = QLoRA(task, recipe)
    embed = cached(base.embed_base, base.embedding_facts())
    learners = {"TF-IDF": lambda: baselines.tfidf(task), "probe": lambda: probe.Probe(task, embed)}
    if args.qlora:
        learners["QLoRA"] = lambda: QLoRA(task, recipe)
    gains = []
    for seed in range(args.seeds):
        positions = np.random.default_rng(seed).permutation(len(pool))[: args.seed_size]
        seed_rows = [pool[i] for i in positions]
        sets = worth.training_sets(seed_rows, synthetic_rows(seed_rows, pool, evaluation, task, seed), seed)
        for name, make in learners.items():
            gains.append(worth.gains(sets, test, make, task, 300, seed).assign(learner=name, seed=seed))
            print(json.dumps(json.loads(gains[-1].round(4).to_json(orient="records"))), flush=True)
    return pd.concat(gains), base.facts()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed-size", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--qlora", action="store_true")
    args = parser.parse_args()
    files_of_params = ("tasks/italian_jobs.yaml", "profiles/demo.yaml")
    params = {name: yaml.safe_load((ROOT / "params" / name).read_text("utf-8")) for name in files_of_params}
    settings = params["tasks/italian_jobs.yaml"]
    table, base = measure_gains(settings, recipe("demo"), args)
    groups = table.groupby(["learner", "training rows"], sort=False)
    summary = groups[["rows", "macro_f1", "gain"]].mean().join(groups.gain.agg(["min", "max"]))
    print(summary.round(3).to_string())
    facts = {"params": params, "packages": {p: run.version(p) for p in run.PACKAGES}, "base": base}
    rows = json.loads(table.round(4).to_json(orient="records"))
    results = Path(__file__).parent / "results" / "synthetic.json"
    files.write_json(results, facts | {"arguments": vars(args), "rows": rows})


if __name__ == "__main__":
    main()
