"""What a choice costs: seconds and peak memory of every query strategy, one JSON line each.

    python -m tests.benchmarks.selection [10000 50000] [--only coreset kmeans] [--csv FILE]

100 picks from texts of 384 numbers: unit vectors in 200 clusters of unequal size, two classes, 500 labelled
rows. `processor` is the seconds of all cores together, which other work on the machine disturbs less. Every
strategy runs in its own process, whose peak includes Python and the pool (`pool_gib`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import env, files
from helpers.query import strategies

WIDTH, PICKS, LABELLED = 384, 100, 500


def make(file: Path, n: int) -> None:
    """Write the pool in parts, so that the peak of a measuring process is its own."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, WIDTH)).astype(np.float32)
    share = rng.dirichlet(np.full(200, 0.5))
    pool = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n, WIDTH))
    for start in range(0, n, 20_000):
        rows = centres[rng.choice(200, min(20_000, n - start), p=share)]
        rows += 1.5 * rng.standard_normal(rows.shape, dtype=np.float32)
        pool[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pool.flush()


def measure(file: Path, name: str) -> None:
    """Print seconds and peak memory of one choice from the pool in `file`."""
    pool, rng = np.load(file), np.random.default_rng(1)
    n, pool_gib = len(pool), env.peak_memory_gib()["ram"]
    score = 1 / (1 + np.exp(-20 * (pool @ rng.normal(size=WIDTH).astype(np.float32)) / np.sqrt(WIDTH)))
    probabilities = np.stack([1 - score, score], axis=1)
    rows = rng.permutation(n)[:LABELLED]
    inputs = {
        "probabilities": probabilities,
        "embeddings": pool,
        "labelled": pool[rows],
        "labelled_probabilities": probabilities[rows],
        "held_out": pool[rows],
        "errors": rng.random(LABELLED) < 0.2,
        "groups": rng.integers(0, 5, n),
    }
    started, processor = time.perf_counter(), time.process_time()
    picks = strategies.select(name, n, PICKS, 0, **inputs)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    assert len(set(picks.tolist())) == PICKS
    figures = {"seconds": round(seconds, 2), "processor": round(processor, 2)}
    figures |= {"peak_gib": env.peak_memory_gib()["ram"], "pool_gib": pool_gib}
    print(json.dumps({"figure": "selection", "strategy": name, "texts": n, "picks": PICKS, **figures}), flush=True)


def table(lines: list[dict]) -> pd.DataFrame:
    """Processor seconds by strategy, one column for each number of texts, and the largest peak."""
    rows = pd.DataFrame(lines)
    wide = rows.pivot(index="strategy", columns="texts", values="processor")
    return wide.assign(peak_gib=rows.groupby("strategy").peak_gib.max()).sort_values(wide.columns[-1]).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 50_000])
    parser.add_argument("--only", nargs="+", default=strategies.names("classification"))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help="file for the table of all costs")
    options = parser.parse_args()
    if options.measure:
        return measure(Path(options.measure[0]), options.measure[1])
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for n in options.sizes:
            make(file := Path(folder) / f"{n}.npy", n)
            for name in options.only:
                words = [sys.executable, "-m", "tests.benchmarks.selection", "--measure", str(file), name]
                lines.append(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
                print(lines[-1], end="", flush=True)
            file.unlink()
    if options.csv:
        files.write_csv(options.csv, table([json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()
