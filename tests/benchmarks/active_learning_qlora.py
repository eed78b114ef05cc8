"""Fewer labels for the tuned model: QLoRA's learning curves by query strategy, through the same functions as notebook 03.

    python -m tests.benchmarks.active_learning_qlora jobs [--only bait] [--seeds 0 1 ...] [--upto 300 1050] [--bf16] [--report]

Sets, first 50 labels and batches are those of `active_learning`. Every round trains fresh adapters on all
labels so far and scores a new random draw of `pool_limit` rows, as the profile sets; `full` trains once on
the whole pool, for two seeds. Every round is a line of WORK/SET.jsonl, and its weights go to WORK/weights
for `warm_start`, so that an interrupted run continues. All strategies of a seed advance together, and every
seed reaches the first of `--upto` before any continues to the next: the curves at hand are always comparable.

A strategy named "…, warm" continues from its last round's weights (`fit(..., warm=True)`) and selects with them.
`--bf16` multiplies with bfloat16 factors and float32 sums, which is faster on a processor with AMX; every
line records the precision. `--report` writes `active_learning_qlora_SET.csv`, `..._curves.csv`,
`..._along.csv` and `.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from helpers import files, run
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.query import rounds
from helpers.query.strategies import select
from helpers.task import Task
from tests.benchmarks.active_learning import BATCH, RESULTS, ROOT, SETS, START, along, minilm_folder, summarise
from tests.benchmarks.recipes import parameters

STRATEGIES = ["random", "bait", "full"]
WARM = ", warm"  # suffix of a strategy whose rounds continue from the last one's weights


class Arena:
    """A set, its learner, and the last training, which strategies with the same labels share."""

    def __init__(self, name: str):
        table, profile = SETS[name]()
        self.params = parameters(profile)
        if self.params["model"] != EMBEDDED:
            self.params["model"] = minilm_folder(self.params["model"])
        task = Task("b", ("absent", "present"), "present", (" a", " b"), "{text}")
        rows = [{"text": t, "label": task.labels[y]} for t, y in zip(table.text, table.y, strict=True)]
        test = table.test.to_numpy(dtype=bool)
        self.pool = [row for row, is_test in zip(rows, test, strict=True) if not is_test]
        self.test = [row for row, is_test in zip(rows, test, strict=True) if is_test]
        self.groups = table.group.astype(str).to_numpy()[test]
        self.learner, self.fitted = QLoRA(task, Recipe.from_params(self.params)), None

    def fit(self, labelled: list[int], seed: int, before: Path | None = None) -> dict:
        """Scores of the learner trained on the pool's rows `labelled`, from the weights in `before` if there are any."""
        if self.fitted != (labelled, seed, before):
            started = time.perf_counter()
            if warm := before is not None:
                self.learner.restore(before)
            self.learner.fit([self.pool[i] for i in labelled], seed, warm=warm)
            answers = self.learner.predict_proba([r["text"] for r in self.test]).argmax(1)
            truth = np.array(self.learner.task.index([r["label"] for r in self.test]))
            right = pd.Series(answers == truth).groupby(self.groups).agg(["mean", "size"])
            self.scores = {
                "macro_f1": round(f1_score(truth, answers, average="macro"), 4),
                "worst_group": round(float(right[right["size"] >= 10]["mean"].min()), 4),
                "fit_seconds": round(time.perf_counter() - started, 1),
            }
            self.fitted = (labelled, seed, before)
        return self.scores

    def choose(self, name: str, labelled: list[int], seed: int) -> list[int]:
        """Positions in the pool of the next batch."""
        rng = np.random.default_rng([seed, 1])
        candidates = rng.permutation(np.setdiff1d(np.arange(len(self.pool)), labelled))
        if name == "random":
            return candidates[:BATCH].tolist()
        candidates = np.sort(candidates[: self.params["pool_limit"]])
        open_rows, labelled_rows = [self.pool[i] for i in candidates], [self.pool[i] for i in labelled]
        inputs = rounds.strategy_inputs(name, self.learner, labelled_rows, open_rows)
        return candidates[select(name, len(open_rows), BATCH, seed, **inputs)].tolist()


def one_round(arena: Arena, name: str, seed: int, done: list[dict], weights: Path) -> dict:
    """Fit, score, select: the next line of a curve."""
    labelled = np.random.default_rng([seed, 0]).permutation(len(arena.pool)).tolist()
    if name != "full":
        labelled = labelled[:START] + [i for row in done for i in row["picks"]]
    number = 1000 * seed + len(done)
    before = weights / str(len(done) - 1) if name.endswith(WARM) and done else None
    row = {"labels": len(labelled), **arena.fit(labelled, number, before)}
    arena.learner.save(weights / str(len(done)))
    started = time.perf_counter()
    row["picks"] = [] if name == "full" else arena.choose(name.removesuffix(WARM), labelled, number)
    row["seconds"] = round(time.perf_counter() - started, 1)
    row["products"] = torch.get_float32_matmul_precision()
    row["positives"] = sum(arena.pool[i]["label"] == "present" for i in labelled)
    return row


def report(table: pd.DataFrame, of: str, params: dict) -> None:
    """Compare the strategies on the seeds and numbers of labels that all have; print and write the summary.

    100 % is the mean score of training on the whole pool (`full`), or without it the best mean score.
    """
    table, whole = table[table.strategy != "full"], table[table.strategy == "full"].macro_f1
    reached = table.groupby(["strategy", "seed"]).labels.max().unstack(0)
    seeds = reached.dropna().index
    upto = int(reached.loc[seeds].min().min())
    common = table[table.seed.isin(seeds) & (table.labels <= upto)].assign(set=of)
    level = whole.mean() if len(whole) else common.groupby(["strategy", "labels"]).macro_f1.mean().max()
    summary = summarise(common, of, level, upto)
    print(f"{of}: {len(seeds)} seeds up to {upto} labels; 100 % is {level:.4f}, full data on {len(whole)} seeds")
    print(summary[["strategy", "seeds", "area", "gain", "gain_low", "gain_high", "p", "worst_group_area"]].to_string())
    files.write_csv(RESULTS / f"active_learning_qlora_{of}.csv", summary)
    files.write_csv(RESULTS / f"active_learning_qlora_{of}_along.csv", along(common))
    wide = common.pivot(index=["set", "strategy", "seed"], columns="labels", values="macro_f1")
    files.write_csv(RESULTS / f"active_learning_qlora_{of}_curves.csv", wide.reset_index())
    facts = {
        "products": sorted(table.products.unique()),
        "start": START,
        "batch": BATCH,
        "upto": upto,
        "seeds": seeds.tolist(),
        "full": {of: level},
        "full_seeds": whole.tolist(),
    }
    packages = {p: run.version(p) for p in [*run.PACKAGES, "numpy", "scipy"]}
    model = params | {"model": Path(params["model"]).name}
    files.write_json(RESULTS / f"active_learning_qlora_{of}.json", facts | {"profile": model, "packages": packages})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("--only", nargs="+", default=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--upto", nargs="+", type=int, default=[300, 500, 1050])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-al-qlora")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if args.bf16:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cuda.enable_flash_sdp(False)  # the CPU kernel for attention is slow with bfloat16
    file = args.work / f"{args.set}.jsonl"
    args.work.mkdir(parents=True, exist_ok=True)
    lines = files.read_jsonl(file) if file.exists() else []
    arena = Arena(args.set)
    if args.report:
        return report(pd.DataFrame(lines), args.set, arena.params)
    strategies = [name for name in args.only if name != "full"]
    turns = [
        (name, seed, (size - START) // BATCH)
        for upto in args.upto
        for seed in args.seeds
        for size in range(START, upto + 1, BATCH)
        for name in strategies
    ]
    turns += [("full", seed, 0) for seed in args.seeds[:2] if "full" in args.only]
    for name, seed, number in turns:
        done = [r for r in lines if r["strategy"] == name and r["seed"] == seed]
        if len(done) == number:
            weights = args.work / "weights" / f"{args.set}-{name}-{seed}"
            lines.append({"strategy": name, "seed": seed, **one_round(arena, name, seed, done, weights)})
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(lines[-1]) + "\n")
            print({k: v for k, v in lines[-1].items() if k != "picks"}, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
