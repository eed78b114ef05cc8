"""QLoRA on the embedded base compared with TF-IDF + LR at equal labels, over 5 seeds.

    python -m tests.benchmarks.italian_jobs [--labels 400] [--seeds 5] [--scope workplace]

Writes `tests/benchmarks/results/italian_jobs_SCOPE.json` and prints a table. The labels are drawn at
random from the written pool, the same rows for every model; the cue lexicon needs none.
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
    args = parser.parse_args()
    settings = yaml.safe_load((ROOT / "params/tasks/italian_jobs.yaml").read_text())
    task = make_task(settings)
    learner = QLoRA(task, recipe("demo"))
    pool = [embedded.in_scope(r, args.scope) for r in embedded.labelled_pool()]
    sets: dict[str, list[dict]] = {"test": [], "test_whole_ads": [], "test_sentences": []}
    for row in (*embedded.gold(), *embedded.sentences("test_sentences")):
        if row["split"] in sets:
            sets[row["split"]].append(embedded.in_scope(row, args.scope))
    rows = []
    for n in args.labels:
        for seed in range(args.seeds):
            train = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[:n]]
            models = {
                "QLoRA": learner,
                "TF-IDF + LR": baselines.tfidf(task),
                "cue lexicon": baselines.Lexicon(task, partial(find_cues, scope=args.scope)),
            }
            for name, model in models.items():
                model.fit(train, seed) if name == "QLoRA" else model.fit(train)
                for split, test in sets.items():
                    truth = np.array(task.index([r["label"] for r in test]))
                    answers = model.predict_proba([r["text"] for r in test]).argmax(1)
                    score = detection.macro_f1(truth, answers)
                    rows.append({"labels": n, "seed": seed, "set": split, "model": name, "macro_f1": round(score, 4)})
                    print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows)
    summary = table.groupby(["set", "labels", "model"]).macro_f1.agg(["mean", "std", "min", "max"]).round(3)
    print(summary.to_string())
    facts = {
        "params": parameters("demo") | settings,
        "scope": args.scope,
        "packages": {p: run.version(p) for p in run.PACKAGES},
        "base": learner.facts(),
        "rows": rows,
    }
    files.write_json(Path(__file__).parent / "results" / f"italian_jobs_{args.scope}.json", facts)


if __name__ == "__main__":
    main()
