"""QLoRA compared with TF-IDF + LR and the cue lexicon at equal labels, over 5 seeds.

    python -m tests.benchmarks.italian_jobs [--labels 400] [--seeds 5] [--scope workplace] [--profile demo]

Writes `tests/benchmarks/results/italian_jobs_SCOPE_PROFILE.json` and prints a table. The labels are drawn at
random from the written pool, the same rows for every model; the cue lexicon needs none. A training that was
measured before, with the same base and recipe, is not repeated: a large model's take hours and may be cut off.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import env, files, run
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
    task = make_task(settings)
    learner = QLoRA(task, recipe(args.profile))
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
        "base": learner.facts() | {"version": learner.base},
        "rows": [],
    }
    if path.exists() and (earlier := files.read_json(path))["base"] == facts["base"]:
        facts["rows"] = earlier["rows"] if earlier["params"] == facts["params"] else []
    rows = facts["rows"]
    for n in args.labels:
        for seed in range(args.seeds):
            if any((row["labels"], row["seed"]) == (n, seed) for row in rows):
                continue
            train = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[:n]]
            rows += measured(task, learner, train, sets, {"labels": n, "seed": seed}, args.scope)
            facts["peak_memory_gib"] = env.peak_memory_gib()
            files.write_json(path, facts)
    table = pd.DataFrame(rows)
    summary = table.groupby(["set", "labels", "model"]).macro_f1.agg(["mean", "std", "min", "max"]).round(3)
    print(summary.to_string())


def measured(task, learner, train: list[dict], sets: dict[str, list[dict]], facts: dict, scope: str) -> list[dict]:
    """One row a model and set: macro-F1, and the seconds that training took."""
    rows = []
    models = {
        "QLoRA": partial(learner.fit, seed=facts["seed"]),
        "TF-IDF + LR": (tfidf := baselines.tfidf(task)).fit,
        "cue lexicon": (lexicon := baselines.Lexicon(task, partial(find_cues, scope=scope))).fit,
    }
    for (name, fit), model in zip(models.items(), (learner, tfidf, lexicon), strict=True):
        started = time.perf_counter()
        fit(train)
        seconds = round(time.perf_counter() - started, 1)
        for split, test in sets.items():
            truth = np.array(task.index([r["label"] for r in test]))
            answers = model.predict_proba([r["text"] for r in test]).argmax(1)
            score = round(detection.macro_f1(truth, answers), 4)
            rows.append(facts | {"set": split, "model": name, "macro_f1": score, "seconds": seconds})
            print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
