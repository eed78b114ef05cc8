"""Replay of a large label store: `python -m tests.benchmarks.labels` prints one JSON line with the seconds."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from helpers.labels import log


def write_store(folder: Path, n: int, annotators: int = 4) -> None:
    """Write n events as the panel does, over n / 2 records: mostly labels, some skips, flags, notes and undos."""
    rng = random.Random(0)
    kinds = rng.choices(log.EVENTS, (90, 4, 2, 2, 2), k=n)
    facts = {"spans": [[3, 9]], "guideline": "0a1b2c3d", "shown": [], "seconds": 2.4}
    for a in range(annotators):
        rows = []
        for i in range(a, n, annotators):
            row = {"time": 1.8e9 + i / 10, "event": kinds[i], "id": f"{rng.randrange(n // 2):016x}"}
            if kinds[i] == "label":
                row |= facts | {"label": rng.choice(("inclusive", "not_inclusive"))}
            elif kinds[i] == "note":
                row["text"] = "però"
            rows.append(row)
        log.append_all(folder, f"ann{a}", rows)


def replay(n: int = 100_000, repeats: int = 5) -> None:
    """Median seconds to read n events of four annotators, and to replay them, reading included."""
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, n)
        size = sum(path.stat().st_size for path in folder.glob("*.jsonl"))
        for function in (log.events, log.annotations):
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                function(folder)
                seconds.append(time.perf_counter() - start)
            figures[f"{function.__name__}_s"] = round(statistics.median(seconds), 2)
    print(json.dumps({"figure": "replay", "events": n, "mb": round(size / 1e6), **figures, "limit_s": 2}), flush=True)


if __name__ == "__main__":
    replay()
