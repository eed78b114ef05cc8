"""SBIC's questions by a tuned model: scores at 250, 1,000 and all rows, beside people and simpler models.

    python -m tests.benchmarks.sbic is_offensive [offensive …] [--profile minilm] [--rows 250 1000 0] [--seeds 5] [--report]

Of the raw development file (AMBO_BENCH_DATA/sbic/SBIC.v2.dev.csv), a fifth of the posts is the test set of a seed, with
near-duplicates kept together, and 500 further posts are its validation rows, on which promises rest; `--rows` of the others are
drawn for training, 0 takes all. Every training is a line of `results/sbic_PROFILE.jsonl`, so that an interrupted run goes on;
`--report` prints means over seeds. *human* is an annotator held against the majority of the others, *stand in* the model in the
same place; `share90` is the share of test posts that the model may label at a promise of 90 %, `kept90` its agreement there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers import files
from helpers.core import Probe, cached, zero_shot
from helpers.core.qlora import QLoRA
from helpers.data import sbic, tables
from helpers.data.records import near_duplicate_groups, split_by_group
from helpers.evaluation import baselines, detection, selective
from helpers.labels import stand_in
from helpers.task import Task, make_task
from tests.benchmarks.active_learning import minilm_folder
from tests.benchmarks.recipes import ROOT, parameters, recipe

RESULTS = Path(__file__).parent / "results"
VALIDATION = 500
LABELS = {"is_offensive": [sbic.NO, sbic.YES], "offensive": [sbic.NO, sbic.MAYBE, sbic.YES]}
LABELS["implied_bias"] = [sbic.FREE, sbic.BIASED]
WORDS = {sbic.NO: " No", sbic.MAYBE: " Maybe", sbic.YES: " Yes", sbic.FREE: " No", sbic.BIASED: " Yes"}


def read(question: str) -> tuple[Task, list[dict]]:
    """The task and every post with an answer."""
    name = "sbic_implied_bias" if question == "implied_bias" else "sbic_offensive"
    settings = yaml.safe_load((ROOT / f"params/tasks/{name}.yaml").read_text())
    labels = LABELS[question]
    settings |= {"question": question, "labels": labels, "label_words": [WORDS[label] for label in labels]}
    path = str(Path(os.environ["AMBO_BENCH_DATA"]) / "sbic" / "SBIC.v2.dev.csv")
    table = sbic.ask(tables.read_table(path, "post"), question, path)
    params = settings | {
        "data_path": path,
        "annotations_column": "annotations",
        "test_split": "",
        "validation_split": "",
    }
    rows = [r for r in tables.to_records(table, params) if r.get("label")]
    return make_task(params), rows


def sets_of(rows: list[dict], groups: np.ndarray, seed: int) -> dict[str, list[dict]]:
    """Test and validation rows of a seed, and the pool in the order in which it is drawn from."""
    sizes = {"test": len(rows) // 5, "validation": VALIDATION}
    split = split_by_group(rows, groups, sizes, seed)
    sets = {name: [r for r in split if r["split"] == name] for name in (*sizes, "pool")}
    order = np.random.default_rng(seed).permutation(len(sets["pool"]))
    return sets | {"pool": [sets["pool"][i] for i in order]}


def measured(model, task: Task, sets: dict[str, list[dict]]) -> dict[str, float]:
    """Scores of a trained model, or of any function from texts to probabilities."""
    test, validation = sets["test"], sets["validation"]
    probabilities, known = (model([r["text"] for r in rows]) for rows in (test, validation))
    truth, answers = np.array(task.index([r["label"] for r in test])), probabilities.argmax(1)
    row = {"macro_f1": float(detection.macro_f1(truth, answers)), "accuracy": float((truth == answers).mean())}
    is_right = known.argmax(1) == task.index([r["label"] for r in validation])
    kept = selective.promise(known.max(1), is_right, probabilities.max(1), 0.9)
    passing = probabilities.max(1) >= kept.threshold
    row |= {
        "share90": float(passing.mean()),
        "kept90": float((truth == answers)[passing].mean()) if passing.any() else None,
    }
    opinions = stand_in.opinion_counts([r.get("annotations", {}) for r in test], task.labels)
    if beside := stand_in.compare(opinions, answers, draws=200):
        people, own = beside.values[0]
        row |= {"human": float(people), "stand_in": float(own), "verdict": beside.equivalence(0.05)["verdict"]}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="+", choices=sorted(LABELS))
    parser.add_argument("--profile", default="minilm")
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 1000, 0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    path = RESULTS / f"sbic_{args.profile}.jsonl"
    done = files.read_jsonl(path) if path.exists() else []
    if args.report:
        table = pd.DataFrame(done)
        columns = ["macro_f1", "accuracy", "human", "stand_in", "share90", "kept90", "seconds"]
        columns = [name for name in columns if name in table]
        print(table.groupby(["question", "rows", "model"])[columns].mean().round(3).to_string())
        return
    model_path = parameters(args.profile)["model"]
    changes = {"model": minilm_folder(model_path), "revision": ""} if args.profile == "minilm" else {}
    for question in args.questions:
        task, rows = read(question)
        groups = near_duplicate_groups([r["text"] for r in rows])
        learner = QLoRA(task, recipe(args.profile, **changes))
        probe = Probe(task, cached(learner.embed_base, learner.embedding_facts()))
        models = {
            "QLoRA": learner,
            "frozen probe": probe,
            "TF-IDF + LR": baselines.tfidf(task),
            "majority": baselines.majority(task),
            "zero-shot": partial(zero_shot, task, learner.recipe),
        }
        for count in args.rows:
            for seed in range(args.seeds):
                sets = sets_of(rows, groups, seed)
                train = sets["pool"][: count or None]
                for name, model in models.items():
                    key = {"question": question, "rows": len(train), "seed": seed, "model": name}
                    if name == "zero-shot":
                        key["rows"] = 0
                    if any(key.items() <= row.items() for row in done):
                        continue
                    started = time.perf_counter()
                    if name != "zero-shot":
                        model.fit(train, seed)
                        model = model.predict_proba
                    seconds = round(time.perf_counter() - started, 1)
                    done.append(key | measured(model, task, sets) | {"seconds": seconds})
                    files.write_jsonl(path, done)
                    print(json.dumps(done[-1]), flush=True)


if __name__ == "__main__":
    main()
