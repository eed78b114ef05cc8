"""QLoRA compared with TF-IDF + LR and the cue lexicon at equal labels, over 5 seeds.

    python -m tests.benchmarks.italian_jobs [--labels 400] [--seeds 5] [--scope workplace] [--profile demo]

Writes `tests/benchmarks/results/italian_jobs_SCOPE_PROFILE.json` and prints a table. The labels are drawn at
random from the written pool, the same rows for every model; the cue lexicon needs none. Where QLoRA is told
which words the cue lexicon marks (`hints`), it is also measured on the labels alone. A training that was measured
before, with the same base and recipe, is not repeated: a large model's take hours and may be cut off.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import env, files, run
from helpers.core.hints import rules_version
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from helpers.evaluation import baselines, detection
from helpers.italian.addressees import SCOPES, WORKPLACE
from helpers.italian.cues import find_cues
from helpers.task import make_task
from tests.benchmarks.recipes import ROOT, parameters, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[400])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scope", default=WORKPLACE, choices=sorted(SCOPES))
    parser.add_argument("--profile", default="demo")
    args = parser.parse_args()
    settings = yaml.safe_load((ROOT / "params/tasks/italian_jobs.yaml").read_text())
    task = make_task(settings | {"scope": args.scope})
    learner = QLoRA(task, recipe(args.profile))
    learners = {"QLoRA": learner}
    if learner.encoding.is_hinted:
        learners["QLoRA, labels alone"] = QLoRA(replace(task, hints=""), learner.recipe)
    pool = [embedded.in_scope(r, args.scope) for r in embedded.labelled_pool()]
    sets: dict[str, list[dict]] = {"test": [], "test_whole_ads": [], "test_sentences": []}
    for row in (*embedded.gold(), *embedded.sentences("test_sentences")):
        if row["split"] in sets:
            sets[row["split"]].append(embedded.in_scope(row, args.scope))
    path = Path(__file__).parent / "results" / f"italian_jobs_{args.scope}_{args.profile}.json"
    facts = {
        "params": parameters(args.profile) | settings,
        "scope": args.scope,
        "packages": {p: run.version(p) for p in run.PACKAGES},
        "base": {k: v for k, v in learner.facts().items() if k != "hints"} | {"version": learner.base},
        "rules": rules_version(task),
        "rows": [],
    }
    if path.exists() and (earlier := files.read_json(path))["base"] == facts["base"]:
        facts["rows"] = earlier["rows"] if earlier["params"] == facts["params"] else []
        if earlier.get("rules") != facts["rules"]:  # of others, what reads them is measured anew
            facts["rows"] = [row for row in facts["rows"] if row["model"] not in ("QLoRA", "cue lexicon")]
    rows = facts["rows"]
    lexicon = baselines.Lexicon(task, partial(find_cues, scope=args.scope))
    models = {**learners, "TF-IDF + LR": baselines.tfidf(task), "cue lexicon": lexicon}
    for n in args.labels:
        for seed in range(args.seeds):
            train = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[:n]]
            for name, model in models.items():
                key = {"labels": n, "seed": seed, "model": name}
                if not any(key.items() <= row.items() for row in rows):
                    rows += measured(model, task, train, sets, key)
                    facts["peak_memory_gib"] = env.peak_memory_gib()
                    files.write_json(path, facts)
    table = pd.DataFrame(rows)
    summary = table.groupby(["set", "labels", "model"]).macro_f1.agg(["mean", "std", "min", "max"]).round(3)
    print(summary.to_string())


def measured(model, task, train: list[dict], sets: dict[str, list[dict]], key: dict) -> list[dict]:
    """One row a set: macro-F1, and the seconds that training took."""
    rows, started = [], time.perf_counter()
    model.fit(train, key["seed"])
    seconds = round(time.perf_counter() - started, 1)
    for split, test in sets.items():
        truth = np.array(task.index([r["label"] for r in test]))
        answers = model.predict_proba([r["text"] for r in test]).argmax(1)
        score = round(detection.macro_f1(truth, answers), 4)
        rows.append(key | {"set": split, "macro_f1": score, "seconds": seconds})
        print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
