"""Fewer labels for the tuned model: QLoRA's learning curves by query strategy, through the same functions as notebook 03.

    python -m tests.benchmarks.active_learning_qlora jobs [--only bait] [--seeds 0 1 ...] [--upto 300 1050] [--bf16] [--report]

Sets, first 50 labels and batches are those of `active_learning`; each round trains fresh adapters on all labels so far and scores
a fresh draw of `pool_limit` rows, as the profile says; `full` trains once on the whole pool, for two seeds. A line a round goes to
WORK/SET.jsonl, its weights to WORK/weights for `warm_start`: a run that was cut off goes on. All strategies of a seed advance
together and every seed reaches the first of `--upto` before any goes to the next, so that what is there is always comparable.
A strategy named "…, warm" goes on from its last round's weights instead (`fit(..., warm=True)`), and chooses with them.
`--bf16` multiplies with bfloat16 factors and float32 sums, faster on a processor with AMX; each line says how it was done.
`--report` writes `active_learning_qlora_SET.csv`, `..._curves.csv`, `..._along.csv` and `.json`.
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
import yaml
from sklearn.metrics import f1_score

from helpers import files, run
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.query import rounds
from helpers.query.strategies import select
from helpers.task import Task
from tests.benchmarks.active_learning import BATCH, RESULTS, ROOT, SETS, START, along, minilm_folder, summarise

STRATEGIES = ["random", "bait", "full"]
WARM = ", warm"  # what a name ends with where a round goes on from the last one's weights


class Arena:
    """A set, its learner, and the last training, which strategies that have the same labels share."""

    def __init__(self, name: str):
        table, profile = SETS[name]()
        self.params = yaml.safe_load((ROOT / "params" / "profiles" / f"{profile}.yaml").read_text())
        if self.params["model"] != EMBEDDED:
            self.params["model"] = minilm_folder(self.params["model"])
        task = Task("b", ("absent", "present"), "present", (" a", " b"), "{text}")
        rows = [{"text": t, "label": task.labels[y]} for t, y in zip(table.text, table.y, strict=True)]
        test = table.test.to_numpy(dtype=bool)
        self.pool = [r for r, held in zip(rows, test, strict=True) if not held]
        self.test = [r for r, held in zip(rows, test, strict=True) if held]
        self.groups = table.group.astype(str).to_numpy()[test]
        self.learner, self.fitted = QLoRA(task, Recipe.from_params(self.params)), None

    def fit(self, have: list[int], seed: int, before: Path | None = None) -> dict:
        """Scores of the learner trained on the pool's rows `have`, from the weights saved in `before` where that is given."""
        if self.fitted != (have, seed, before):
            started = time.perf_counter()
            if warm := before is not None:
                self.learner.restore(before)
            self.learner.fit([self.pool[i] for i in have], seed, warm=warm)
            answers = self.learner.predict_proba([r["text"] for r in self.test]).argmax(1)
            truth = np.array(self.learner.task.index([r["label"] for r in self.test]))
            right = pd.Series(answers == truth).groupby(self.groups).agg(["mean", "size"])
            self.scores = {
                "macro_f1": round(f1_score(truth, answers, average="macro"), 4),
                "worst_group": round(float(right[right["size"] >= 10]["mean"].min()), 4),
                "fit_seconds": round(time.perf_counter() - started, 1),
            }
            self.fitted = (have, seed, before)
        return self.scores

    def choose(self, name: str, have: list[int], seed: int) -> list[int]:
        """Positions in the pool of the next batch."""
        free, rng = np.setdiff1d(np.arange(len(self.pool)), have), np.random.default_rng([seed, 1])
        if name == "random":
            return rng.permutation(free)[:BATCH].tolist()
        free = np.sort(rng.permutation(free)[: self.params["pool_limit"]])
        rows, known = [self.pool[i] for i in free], [self.pool[i] for i in have]
        probabilities, embeddings = self.learner.score([r["text"] for r in rows])
        more = rounds.strategy_inputs(name, self.learner, None, known, rows, seed)
        return free[select(name, probabilities, embeddings, BATCH, seed, **more)].tolist()


def one_round(arena: Arena, name: str, seed: int, done: list[dict], weights: Path) -> dict:
    """Fit, score, choose: the next line of a curve."""
    have = np.random.default_rng([seed, 0]).permutation(len(arena.pool)).tolist()
    have = have if name == "full" else have[:START] + [i for r in done for i in r["picks"]]
    number = 1000 * seed + len(done)
    before = weights / str(len(done) - 1) if name.endswith(WARM) and done else None
    row = {"labels": len(have), **arena.fit(have, number, before)}
    arena.learner.save(weights / str(len(done)))
    started = time.perf_counter()
    row["picks"] = [] if name == "full" else arena.choose(name.removesuffix(WARM), have, number)
    row["seconds"] = round(time.perf_counter() - started, 1)
    row["products"] = torch.get_float32_matmul_precision()
    row["positives"] = sum(arena.pool[i]["label"] == "present" for i in have)
    return row


def report(table: pd.DataFrame, of: str, params: dict) -> None:
    """Compare the seeds and the numbers of labels that every strategy has; print and write the summary.

    100 % is the mean of what was trained on the whole pool (`full`), without it the best mean score.
    """
    table, whole = table[table.strategy != "full"], table[table.strategy == "full"].macro_f1
    reached = table.groupby(["strategy", "seed"]).labels.max().unstack(0)
    seeds = reached.dropna().index
    upto = int(reached.loc[seeds].min().min())
    kept = table[table.seed.isin(seeds) & (table.labels <= upto)].assign(set=of)
    level = whole.mean() if len(whole) else kept.groupby(["strategy", "labels"]).macro_f1.mean().max()
    summary = summarise(kept, of, level, upto)
    print(f"{of}: {len(seeds)} seeds up to {upto} labels; 100 % is {level:.4f}, full data on {len(whole)} seeds")
    print(summary[["strategy", "seeds", "area", "gain", "gain_low", "gain_high", "p", "worst_group_area"]].to_string())
    files.write_csv(RESULTS / f"active_learning_qlora_{of}.csv", summary)
    files.write_csv(RESULTS / f"active_learning_qlora_{of}_along.csv", along(kept))
    wide = kept.pivot(index=["set", "strategy", "seed"], columns="labels", values="macro_f1")
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
        torch.backends.cuda.enable_flash_sdp(False)  # attention's own kernel for CPUs is slow with such factors
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
