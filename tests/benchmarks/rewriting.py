"""Inclusive rewriting with the embedded base: what rules, silver pairs and the learner bring, one JSON line each.

python -m tests.benchmarks.rewriting [validation | test] [seeds] [best]

Over the sentences that have to change, a line has `compliant` (see `helpers.italian.check`), `inclusive_and_untouched` (the
same without the check that every new wording is an accepted one) and `exact`; over the inclusive ones, `identical`. Training
also has the seconds of processor time that it took.
"""

from __future__ import annotations

import json
import sys
import time

from helpers.core.writer import Writer
from helpers.data import embedded
from helpers.italian.check import check
from helpers.italian.requirements import inclusive
from helpers.italian.silver import silver
from helpers.task import Task
from tests.benchmarks.recipes import recipe

RECIPE = recipe("demo_rewriting", "03_active_generation", weight_decay=0.0, patience=0, holdout=0.0)
SYSTEMS = {  # silver pairs, copies of the written pairs, draft
    "written pairs alone": (0, 3, ""),
    "written pairs, draft by rule": (0, 3, "italian"),
    "written and silver pairs": (3000, 3, ""),
    "written and silver pairs, draft by rule": (3000, 3, "italian"),
}


def report(name: str, rows: list[dict], outputs: list[str], **more) -> None:
    """Print one line of figures."""
    pairs = list(zip(rows, outputs, strict=True))
    changed = [(row, output) for row, output in pairs if row["text"] != row["target"]]
    unchanged = [row["text"] == output for row, output in pairs if row["text"] == row["target"]]
    checks = [check(row["text"], output, row["target"]) for row, output in changed]
    figures = {
        "compliant": sum(c["compliant"] for c in checks),
        "inclusive_and_untouched": sum(c["inclusive"] and c["untouched"] for c in checks),
        "exact": sum(row["target"] == output for row, output in changed),
        "changed": len(changed),
        "identical": sum(unchanged),
        "inclusive_inputs": len(unchanged),
    }
    print(json.dumps({"system": name, **figures, **more}), flush=True)


def main(split: str = "test", seeds: int = 3, only: str = "") -> None:
    """Report the rules alone, then every way of training (with `best` the last one) for each seed."""
    rows = embedded.rewrites()
    seed_rows, rows = [r for r in rows if r["split"] == "train"], [r for r in rows if r["split"] == split]
    texts = [row["text"] for row in rows]
    pool = [row["text"] for row in embedded.pool_texts()]
    systems = list(SYSTEMS.items())
    if only:
        systems = systems[-1:]
    report("rules", rows, [inclusive(text) for text in texts])
    for seed in range(seeds):
        for name, (count, copies, draft) in systems:
            silver_pairs = silver(pool, seed_rows, count, seed) if count else []
            task = Task("rewriting", (), "", (), "{text}\n", (), "edits", draft)
            learner = Writer(task, RECIPE, seed, drafters={"italian": inclusive})
            start = time.process_time()
            learner.fit(silver_pairs + seed_rows * copies)
            report(name, rows, learner.write(texts), seed=seed, training_seconds=round(time.process_time() - start))


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]), *sys.argv[3:4])
