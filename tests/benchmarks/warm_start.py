"""Does a round of QLoRA gain from the last round's weights, or from several adapters on one base? One JSON line a fit.

    python -m tests.benchmarks.warm_start [--seeds 0 1 2] [--upto 250] [--ways fresh warm ...] [--ensembles 2] [--work FOLDER]

Job ads, labels drawn at random, a fit every 50 of them; every way starts from the same fresh fit on the first 50. `fresh` trains
new adapters each time; `warm` is `fit(..., warm=True)`, one pass over all labels so far from the weights it ended the last round
with; `warm2` makes two passes; `shrink` halves adapters and head before its pass (Ash & Adams 2020, arXiv 1910.08475, without
their noise); `ensemble`, at the last size of the first seeds, is the mean probability of three fresh fits, each with its seed.
Macro-F1 and log-loss on the test rows, processor seconds of the fit.
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

from helpers import run
from tests.benchmarks.active_learning import BATCH, ROOT, START
from tests.benchmarks.active_learning_qlora import Arena

WAYS = ["fresh", "warm", "warm2", "shrink"]


@torch.no_grad()
def halve(learner) -> None:
    """Shrink what the adapters add to the base, and the head."""
    for name, weight in learner.module.named_parameters():
        if "lora_B" in name or name.startswith("out."):
            weight.mul_(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--upto", type=int, default=250)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--ensembles", type=int, default=2, help="for how many of the seeds")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-al-qlora")
    args = parser.parse_args()
    arena, file = Arena("jobs"), args.work / "warm_start.jsonl"
    args.work.mkdir(parents=True, exist_ok=True)
    learner, texts = arena.learner, [r["text"] for r in arena.test]
    truth = np.array(learner.task.index([r["label"] for r in arena.test]))
    lines = run.read_jsonl(file) if file.exists() else []

    def note(way: str, seed: int, labels: int, p: np.ndarray, seconds: float) -> None:
        scores = {"macro_f1": f1_score(truth, p.argmax(1), average="macro"), "log_loss": log_loss(truth, p)}
        line = {"way": way, "seed": seed, "labels": labels} | {k: round(float(v), 4) for k, v in scores.items()}
        print(line := line | {"processor_seconds": round(seconds, 1)}, flush=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def fit(rows: list[dict], seed: int, warm: bool = False) -> float:
        begun = time.process_time()
        learner.fit(rows, seed, warm)
        return time.process_time() - begun

    recipe = learner.recipe
    for seed in args.seeds:
        order = np.random.default_rng([seed, 0]).permutation(len(arena.pool))
        fit([arena.pool[i] for i in order[:START]], seed + START)
        learner.save(args.work / "weights" / "start")
        for way in args.ways:
            weights = args.work / "weights" / "start"
            for size in range(START + BATCH, args.upto + 1, BATCH):
                rows = [arena.pool[i] for i in order[:size]]
                if (way, seed, args.upto) in {(r["way"], r["seed"], r["labels"]) for r in lines}:
                    continue
                if way != "fresh":
                    learner.restore(weights)
                if way == "shrink":
                    halve(learner)
                learner.recipe = replace(recipe, epochs=2 * recipe.epochs) if way == "warm2" else recipe
                took = fit(rows, seed + size, warm=way != "fresh")
                learner.recipe = recipe
                answers = [learner.predict_proba(texts)]
                note(way, seed, size, answers[0], took)
                weights = learner.save(args.work / "weights" / way)
                if way == "fresh" and size == args.upto and seed in args.seeds[: args.ensembles]:
                    for k in (1, 2):
                        took += fit(rows, 1000 * k + seed + size)
                        answers.append(learner.predict_proba(texts))
                    note("ensemble", seed, size, np.mean(answers, 0), took)


if __name__ == "__main__":
    main()
