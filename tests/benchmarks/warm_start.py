"""Does a round of QLoRA gain from the last round's weights, or from several adapters on one base? One JSON line a fit.

    python -m tests.benchmarks.warm_start [--ways warm warm2 ...] [--only bait random] [--seeds 0 1] [--upto 150] [--work FOLDER]

Every way is trained on the very labels of the curves that `active_learning_qlora jobs` left in FOLDER, where `fresh` adapters
chose them, and starts from their weights on the first 50. `warm` is `fit(..., warm=True)`: a third of the epochs over all labels so
far from the weights that it ended the last round with; `warm2` and `warm3` take two and three times as many; `shrink` halves
adapters and head before its pass (Ash & Adams 2020, arXiv 1910.08475, without their noise); `after_fresh` goes on from the fresh
weights of the last round; `ensemble` is the mean probability of three fresh fits, each with its seed. Macro-F1 and log-loss on
the test rows; processor seconds, not of fresh fits, whose weights are there. Lines without a strategy are of random labels, before
the curves had their weights kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score, log_loss

from helpers import files
from tests.benchmarks.active_learning import ROOT, START
from tests.benchmarks.active_learning_qlora import STRATEGIES, Arena

WAYS = {"fresh": 1, "warm": 1, "warm2": 2, "warm3": 3, "shrink": 1, "after_fresh": 1, "ensemble": 1}


@torch.no_grad()
def halve(learner) -> None:
    """Shrink what the adapters add to the base, and the head."""
    for name, weight in learner.module.named_parameters():
        if "lora_B" in name or name.startswith("out."):
            weight.mul_(0.5)


def fit(learner, rows: list[dict], seed: int, way: str, texts: list[str]) -> np.ndarray:
    """Probabilities of the texts after one fit, for a warm one from the weights in place."""
    recipe, answers = learner.recipe, []
    if way == "shrink":
        halve(learner)
    learner.recipe = replace(recipe, epochs=WAYS[way] * recipe.epochs)
    for k in range(3 if way == "ensemble" else 1):
        learner.fit(rows, 100_000 * k + seed, warm=way != "ensemble")
        answers.append(learner.predict_proba(texts))
    learner.recipe = recipe
    return np.mean(answers, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["fresh", "warm"])
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--upto", type=int, default=150)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-al-qlora")
    args = parser.parse_args()
    arena, file = Arena("jobs"), args.work / "warm_start.jsonl"
    learner, texts = arena.learner, [r["text"] for r in arena.test]
    truth = np.array(learner.task.index([r["label"] for r in arena.test]))
    curves = files.read_jsonl(args.work / "jobs.jsonl")
    for seed, name, way in [(s, n, w) for s in args.seeds for n in args.only for w in args.ways]:
        have = np.random.default_rng([seed, 0]).permutation(len(arena.pool))[:START].tolist()
        curve = [r for r in curves if (r["strategy"], r["seed"]) == (name, seed)]
        fresh = args.work / "weights" / f"jobs-{name}-{seed}"
        own, before = args.work / "weights" / f"{way}-{name}-{seed}", fresh / "0"
        for number in range(1, len([r for r in curve if r["labels"] <= args.upto])):
            have += curve[number - 1]["picks"]
            rows, begun = [arena.pool[i] for i in have], time.process_time()
            learner.restore(fresh / str(number) if way == "fresh" else before)
            p = learner.predict_proba(texts) if way == "fresh" else fit(learner, rows, 1000 * seed + number, way, texts)
            took = time.process_time() - begun
            before = fresh / str(number) if way == "after_fresh" else learner.save(own / str(number))
            scores = {"macro_f1": f1_score(truth, p.argmax(1), average="macro"), "log_loss": log_loss(truth, p)}
            line = {"way": way, "strategy": name, "seed": seed, "labels": len(have)}
            line |= {k: round(float(v), 4) for k, v in scores.items()} | {"processor_seconds": round(took, 1)}
            print(line, flush=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
