"""`ambo predict`: peak memory by the number of rows, and the time of real answers, one JSON line each.

python -m tests.benchmarks.prediction [memory] [speed]
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from helpers import env
from helpers.cli import predict as command
from helpers.data import embedded
from helpers.evaluation import runs
from helpers.task import Task

ROWS = (10_000, 100_000, 1_000_000)
WORDS = ["annuncio", "ricerca", "persona", "città", "qualità", "lavoro", "squadra", "orario", "contratto", "però"]


class Constant:
    """A learner that gives every text the same answer."""

    task = Task("t", ("fine", "biased"), "biased", ("", ""), "")

    def predict_proba(self, texts):
        return np.tile([0.75, 0.25], (len(texts), 1))


def write_rows(path: Path, count: int) -> None:
    """A table with `count` texts of about 500 characters, no two of them the same."""
    dice = np.random.default_rng(0)
    lines = [" ".join(dice.choice(WORDS, 60)) for _ in range(1000)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "place"])
        writer.writerows([i, f"{i} {lines[i % 1000]}", "Torino"] for i in range(count))


def predict(path: Path, out: Path) -> float:
    """Wall seconds of the command on a file."""
    start = time.perf_counter()
    command.predict(str(path), "", "", "text", str(out), "", False, False)
    return time.perf_counter() - start


def one(path: str, out: str) -> None:
    """The command in this process, without a forward pass; prints its peak memory."""
    from helpers.core import detector as core

    command.runs.require_detector = lambda *_: runs.Detector("t", "r", Path(path).parent / "adapter", "")
    core.load_detector = lambda adapter: core.Detector(Constant(), adapter)
    seconds = predict(Path(path), Path(out))
    print(json.dumps([env.peak_memory_gib()["ram"], round(seconds, 1)]))


def memory(suffix: str = ".csv") -> None:
    """Peak of the whole process, PyTorch included, and what it is of that with a tenth of the rows."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapter").mkdir()
        before = None
        for count in ROWS:
            path, out = Path(folder) / "texts.csv", Path(folder) / f"out{suffix}"
            write_rows(path, count)
            code = f"from tests.benchmarks import prediction; prediction.one({str(path)!r}, {str(out)!r})"
            done = subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                env=os.environ | {"AMBO_ROOT": folder},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            peak, seconds = json.loads(done.stdout.splitlines()[-1])
            ratio = round(peak / before, 2) if before else None
            figures = {"rows": count, "written": suffix, "peak_gib": peak, "ratio": ratio, "seconds": seconds}
            print(json.dumps({"figure": "prediction memory", **figures}), flush=True)
            before = peak


def speed(count: int = 10_000) -> None:
    """The embedded base's answers to job ads by the command, and by one call of the core on all texts."""
    from helpers.core import detector as core
    from helpers.core.qlora import QLoRA
    from tests.benchmarks.__main__ import TASK
    from tests.benchmarks.recipes import recipe

    learner = QLoRA(TASK, recipe("demo", patience=0, epochs=1))
    learner.fit(embedded.labelled_pool()[:100])
    ads = [r["text"] for r in embedded.pool_texts()]
    texts = [f"{i} {ads[i % len(ads)]}" for i in range(count)]
    command.runs.require_detector = lambda *_: runs.Detector("t", "r", adapter, "")
    core.load_detector = lambda place: core.Detector(learner, place)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AMBO_ROOT"], adapter = folder, Path(folder) / "adapter"
        adapter.mkdir()
        path = Path(folder) / "texts.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([["text"], *([text] for text in texts)])
        start = time.perf_counter()
        learner.predict_proba(texts)
        alone = time.perf_counter() - start
        whole = predict(path, Path(folder) / "out.csv")
    figures = {"texts": count, "seconds": round(whole, 1), "core_seconds": round(alone, 1)}
    print(json.dumps({"figure": "prediction speed", **figures, "ratio": round(whole / alone, 2)}), flush=True)


FIGURES = {"memory": memory, "speed": speed}

if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
