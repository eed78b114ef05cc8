"""QLoRA on the embedded base compared with TF-IDF + LR at equal labels, over 5 seeds.

    python -m tests.benchmarks.italian_jobs [--labels 400] [--seeds 5]

Writes `tests/benchmarks/results/italian_jobs.json` and prints a table. The labels are drawn at
random from the written pool, the same rows for every model; the cue lexicon needs none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import files, run
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from helpers.evaluation import baselines, detection
from helpers.italian.cues import find_cues
from helpers.task import make_task
from tests.benchmarks.recipes import ROOT, parameters, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[400])
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    settings = yaml.safe_load((ROOT / "params/tasks/italian_jobs.yaml").read_text())
    task = make_task(settings)
    learner = QLoRA(task, recipe("demo"))
    pool = embedded.labelled_pool()
    sets = {name: [r for r in embedded.gold() if r["split"] == name] for name in ("test", "test_whole_ads")}
    rows = []
    for n in args.labels:
        for seed in range(args.seeds):
            train = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[:n]]
            models = {
                "QLoRA": learner,
                "TF-IDF + LR": baselines.tfidf(task),
                "cue lexicon": baselines.Lexicon(task, find_cues),
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
        "packages": {p: run.version(p) for p in run.PACKAGES},
        "base": learner.facts(),
        "rows": rows,
    }
    files.write_json(Path(__file__).parent / "results" / "italian_jobs.json", facts)


if __name__ == "__main__":
    main()
