"""Which words and which kinds: explanations against what people mark, and kinds of exclusion by what they are read from.

    python -m tests.benchmarks.words [--labels 400] [--seeds 3]

The labels are drawn at random from the written pool. What was chosen, was chosen on the validation rows and on 600 pool
rows without a part in training (`unseen pool`); the test rows are scored once for the figures.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import yaml

from helpers.core.detector import Detector
from helpers.core.kinds import Kinds
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from helpers.evaluation import evidence
from helpers.evaluation.kinds import rule_kinds, score_kinds
from helpers.italian.addressees import WORKPLACE
from helpers.italian.cues import find_cues
from helpers.task import make_task
from tests.benchmarks.recipes import ROOT, recipe

MOST = 100  # rows that are explained


def words(detector: Detector, rows: list[dict]) -> pd.DataFrame:
    """Token-F1 of every method and of the rules on the rows with evidence."""
    rows = [row for row in rows if row["spans"]][:MOST]
    texts, asked = [row["text"] for row in rows], [detector.positive] * len(rows)
    found = {method: detector.explain(texts, asked, method) for method in detector.methods}
    found["cue lexicon"] = [[(cue.start, cue.end) for cue in find_cues(text)] for text in texts]
    return evidence.token_f1(texts, [row["spans"] for row in rows], found, draws=200)


def kinds(learner: QLoRA, train: list[dict], rows: list[dict]) -> pd.DataFrame:
    """F1 by kind: read from states weighted by their evidence, from the mean of all, and the rules'."""
    texts, truth = [row["text"] for row in rows], [row.get("kinds", []) for row in rows]
    about = [row for row in train if row.get("kinds")]
    found, answers = {"cue lexicon": rule_kinds(texts, WORKPLACE)}, learner.predict_proba(texts).argmax(1)
    for name, read in {"evidence": lambda t: learner._focused(t)[1], "mean": learner.embed}.items():
        head = Kinds.fit(read([row["text"] for row in about]), [row["kinds"] for row in about])
        sees = (head.probabilities(read(texts)) >= 0.5) & (answers == 1)[:, None]
        found[name] = [[head.names[k] for k in np.flatnonzero(row)] for row in sees]
    return score_kinds(truth, found, draws=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    task = make_task(yaml.safe_load((ROOT / "params/tasks/italian_jobs.yaml").read_text()))
    learner = QLoRA(task, recipe("demo"))
    pool = [embedded.in_scope(row, WORKPLACE) for row in embedded.labelled_pool()]
    gold = [embedded.in_scope(row, WORKPLACE) for row in embedded.gold()]
    tables = []
    for seed in range(args.seeds):
        order = np.random.default_rng(seed).permutation(len(pool))
        train = [pool[i] for i in order[: args.labels]]
        learner.fit(train, seed)
        sets = {name: [row for row in gold if row["split"] == name] for name in ("validation", "test")}
        for name, rows in sets.items():
            tables.append(words(Detector(learner), rows).assign(set=name, seed=seed, what="words"))
        sets["unseen pool"] = [pool[i] for i in order[args.labels : args.labels + 600]]
        for name, rows in sets.items():
            tables.append(kinds(learner, train, rows).assign(set=name, seed=seed, what="kinds"))
    table = pd.concat(tables)
    columns = ["token_f1", "by_chance", "words", "texts"]
    print(table[table.what == "words"].groupby(["set", "finder"])[columns].mean().round(3).to_string())
    columns = ["count", "cue lexicon", "evidence", "mean"]
    print(table[table.what == "kinds"].groupby(["set", "kind"])[columns].mean().round(3).to_string())


if __name__ == "__main__":
    main()
