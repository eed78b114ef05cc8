"""Replay of a large label store: `python -m tests.benchmarks.labels` prints one JSON line per figure."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from helpers.labels import log


def write_store(folder: Path, n: int, annotators: int = 4) -> None:
    """n events as the panel writes them, over n / 2 records: mostly labels, some skips, flags, notes and undos."""
    rng = random.Random(0)
    kinds = rng.choices(log.EVENTS, (90, 4, 2, 2, 2), k=n)
    for a in range(annotators):
        rows = []
        for i in range(a, n, annotators):
            record = f"{rng.randrange(n // 2):016x}"
            row = {"time": 1.8e9 + i / 10, "event": kinds[i], "id": record, "annotator": f"ann{a}"}
            if kinds[i] == "label":
                facts = {
                    "label": rng.choice(("inclusive", "not_inclusive")),
                    "spans": [[3, 9]],
                    "guideline": "0a1b2c3d",
                }
                row |= facts | {"shown": [], "seconds": 2.4}
            rows.append(row | ({"text": "però"} if kinds[i] == "note" else {}))
        log.append_all(folder, f"ann{a}", rows)


def replay(n: int = 1_000_000, repeats: int = 3) -> None:
    """Median seconds to read and replay n events of four annotators, files included; the full state beside it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, n)
        size = sum(f.stat().st_size for f in folder.glob("*.jsonl"))
        figures = {}
        for what in (log.events, log.replay, log.annotations):
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                what(folder)
                times.append(time.perf_counter() - start)
            figures[f"{what.__name__}_s"] = round(statistics.median(times), 2)
    print(json.dumps({"figure": "replay", "events": n, "mb": round(size / 1e6), **figures}), flush=True)


if __name__ == "__main__":
    replay()
