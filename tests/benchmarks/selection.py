"""What a choice costs: seconds and peak memory of every strategy, one JSON line each.

python -m tests.benchmarks.selection [10000 100000 1000000] [--only coreset kmeans]

100 picks from texts of 384 numbers (`processor` is seconds of all cores together, which other work on the machine disturbs less):
unit vectors in 200 clusters of unequal size, two classes, 500 labelled rows. Every
figure is of a process of its own, whose peak includes Python and the pool (`pool_gib`). First the core-set against its
naive version.
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
from helpers.query import coverage, strategies, uncertainty

WIDTH, PICKS, LABELLED, IDENTITY = 384, 100, 500, 20_000
# the other power, softmax and softrank names cost the same as these
NAMES = [n for n in strategies.STRATEGIES if "_" not in n or not n.startswith(uncertainty.DRAWS)]
NAMES += [f"{how}_margin" for how in uncertainty.DRAWS]


def make(file: Path, n: int) -> None:
    """Write the pool, chunk by chunk: the peak of a measuring process is then its own."""
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
    n, base = len(pool), env.peak_memory_gib()["ram"]
    score = 1 / (1 + np.exp(-20 * (pool @ rng.normal(size=WIDTH).astype(np.float32)) / np.sqrt(WIDTH)))
    probabilities = np.stack([1 - score, score], axis=1)
    if name.endswith("bald"):
        probabilities = np.stack([probabilities, probabilities[:, ::-1]])
    rows = rng.permutation(n)[:LABELLED]
    known = {
        "base_probabilities": np.full((n, 2), 0.5, dtype=np.float32),
        "labelled": pool[rows],
        "labelled_probabilities": np.stack([1 - score[rows], score[rows]], axis=1),
        "labels": (score[rows] > 0.5).astype(int),
        "held_out": pool[rows],
        "errors": (rng.random(LABELLED) < 0.2).astype(float),
        "groups": rng.integers(0, 5, n),
        "trusted": 0.5,
    }
    start, processor = time.perf_counter(), time.process_time()
    picks = strategies.select(name, probabilities, pool, PICKS, 0, **known)
    took, processor = time.perf_counter() - start, time.process_time() - processor
    assert len(set(picks.tolist())) == PICKS
    report(
        name,
        n,
        seconds=round(took, 2),
        processor=round(processor, 2),
        peak_gib=env.peak_memory_gib()["ram"],
        pool_gib=base,
    )


def identity(file: Path) -> None:
    """The incremental core-set against the naive greedy k-centre, which works out every distance again at every pick."""
    pool = np.load(file)
    start = time.perf_counter()
    picks = coverage.coreset(np.empty((len(pool), 2)), pool, PICKS, 0)
    ours = time.perf_counter() - start
    wide = pool.astype(np.float64)
    norms = (wide**2).sum(1)
    start = time.perf_counter()
    naive = [picks[0]]
    while len(naive) < PICKS:
        distance = norms[:, None] - 2 * wide @ wide[naive].T + norms[naive]
        naive.append(int(distance.min(1).argmax()))
    theirs = time.perf_counter() - start
    same = picks.tolist() == [int(i) for i in naive]
    report("coreset against naive", IDENTITY, identical=same, seconds=round(ours, 2), naive_seconds=round(theirs, 2))


def report(name: str, n: int, **figures) -> None:
    print(json.dumps({"figure": "selection", "strategy": name, "texts": n, "picks": PICKS, **figures}), flush=True)


def table(lines: list[dict]) -> pd.DataFrame:
    """Processor seconds and the largest peak by strategy: a column for each number of texts."""
    found = pd.DataFrame(lines).query("strategy != 'coreset against naive'")
    wide = found.pivot(index="strategy", columns="texts", values="processor")
    return wide.assign(peak_gib=found.groupby("strategy").peak_gib.max()).sort_values(wide.columns[-1]).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", default=NAMES)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help="file for the table of all costs")
    options = parser.parse_args()
    if options.measure:
        file, name = Path(options.measure[0]), options.measure[1]
        return identity(file) if name == "identity" else measure(file, name)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for n, names in [(IDENTITY, ["identity"]), *((n, options.only) for n in options.sizes)]:
            make(file := Path(folder) / f"{n}.npy", n)
            for name in names:
                words = [sys.executable, "-m", "tests.benchmarks.selection", "--measure", str(file), name]
                lines.append(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
                print(lines[-1], end="", flush=True)
            file.unlink()
    if options.csv:
        files.write_csv(options.csv, table([json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()
