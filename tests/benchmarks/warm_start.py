"""Does a round of QLoRA gain from the last round's weights, or from several adapters? One JSON line for each fit.

    python -m tests.benchmarks.warm_start [--ways warm ...] [--only bait random] [--seeds 0 1] [--upto 150]
        [--work FOLDER]

Every way is trained on the labels of the curves that `active_learning_qlora jobs` wrote to FOLDER, which
fresh adapters selected, and starts from the weights of the first 50:

- `fresh`: the curve itself, from its saved weights
- `warm`: `fit(..., warm=True)`, a third of the epochs, from its own weights of the last round
- `warm2`, `warm3`: twice and three times as many epochs
- `shrink`: halves adapters and head first (Ash & Adams 2020, arXiv 1910.08475, without their noise)
- `after_fresh`: continues from the fresh weights of the last round
- `ensemble`: mean probability of three fresh fits with different seeds

A line has macro-F1 and log-loss on the test rows, and processor seconds (of `fresh`: of scoring alone).
Committed lines without a strategy are of random labels, from before the curves' weights were saved.
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
    """Halve what the adapters add to the base, and the head."""
    for name, weight in learner.module.named_parameters():
        if "lora_B" in name or name.startswith("out."):
            weight.mul_(0.5)


def fit(learner, rows: list[dict], seed: int, way: str, texts: list[str]) -> np.ndarray:
    """Probabilities of the texts (texts, classes) after one fit, a warm one from the present weights."""
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
        labelled = np.random.default_rng([seed, 0]).permutation(len(arena.pool))[:START].tolist()
        curve = [r for r in curves if (r["strategy"], r["seed"]) == (name, seed)]
        fresh = args.work / "weights" / f"jobs-{name}-{seed}"
        own, before = args.work / "weights" / f"{way}-{name}-{seed}", fresh / "0"
        for number in range(1, len([r for r in curve if r["labels"] <= args.upto])):
            labelled += curve[number - 1]["picks"]
            rows, started = [arena.pool[i] for i in labelled], time.process_time()
            learner.restore(fresh / str(number) if way == "fresh" else before)
            p = learner.predict_proba(texts) if way == "fresh" else fit(learner, rows, 1000 * seed + number, way, texts)
            seconds = time.process_time() - started
            before = fresh / str(number) if way == "after_fresh" else learner.save(own / str(number))
            scores = {"macro_f1": f1_score(truth, p.argmax(1), average="macro"), "log_loss": log_loss(truth, p)}
            line = {"way": way, "strategy": name, "seed": seed, "labels": len(labelled)}
            line |= {k: round(float(v), 4) for k, v in scores.items()} | {"processor_seconds": round(seconds, 1)}
            print(line, flush=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
