"""Inclusive rewriting with the embedded base: what rules, silver pairs and the learner bring, one JSON line each.

python -m tests.benchmarks.rewriting [validation | test] [seeds] [best]

Over the sentences to be changed a line has `compliant` (see `rewriting.check`), `inclusive_and_untouched` (the same without the
check that every new wording is a known one) and `exact`; over the inclusive ones `identical`; and the seconds of processor time
that training took.
"""

from __future__ import annotations

import json
import sys
import time

from helpers.core.recipe import Recipe
from helpers.core.writer import Writer
from helpers.data import embedded
from helpers.italian import check, requirements, silver
from helpers.task import Task

RECIPE = Recipe(bidirectional=True, lora_dropout=0.0, learning_rate=1e-3, epochs=1, patience=0, holdout=0.0)
WAYS = {  # silver pairs, copies of the written pairs, draft
    "written pairs alone": (0, 3, ""),
    "written pairs, draft by rule": (0, 3, "italian"),
    "written and silver pairs": (3000, 3, ""),
    "written and silver pairs, draft by rule": (3000, 3, "italian"),
}


def report(name: str, rows: list[dict], outputs: list[str], **more) -> None:
    """One line of figures."""
    changed = [(r, o) for r, o in zip(rows, outputs, strict=True) if r["text"] != r["target"]]
    kept = [r["text"] == o for r, o in zip(rows, outputs, strict=True) if r["text"] == r["target"]]
    checks = [check.check(r["text"], o, r["target"]) for r, o in changed]
    figures = {
        "compliant": sum(c["compliant"] for c in checks),
        "inclusive_and_untouched": sum(c["inclusive"] and c["untouched"] for c in checks),
        "exact": sum(r["target"] == o for r, o in changed),
        "changed": len(changed),
        "identical": sum(kept),
        "inclusive_inputs": len(kept),
    }
    print(json.dumps({"system": name, **figures, **more}), flush=True)


def main(split: str = "test", seeds: int = 3, only: str = "") -> None:
    """The rules alone, then every way of training under so many seeds, or with `best` the last alone."""
    rows = embedded.rewrites()
    known, rows = [r for r in rows if r["split"] == "train"], [r for r in rows if r["split"] == split]
    texts = [r["text"] for r in rows]
    report("rules", rows, [requirements.inclusive(t) for t in texts])
    for seed in range(seeds):
        for name, (count, copies, draft) in [*WAYS.items()][-1 if only else 0 :]:
            made = silver.silver((r["text"] for r in embedded.pool_texts()), known, count, seed) if count else []
            learner = Writer(
                Task("rewriting", (), "", (), "{text}\n", (), "edits", draft),
                RECIPE,
                seed,
                drafters={"italian": requirements.inclusive},
            )
            start = time.process_time()
            learner.fit(made + known * copies)
            report(name, rows, learner.write(texts), seed=seed, training_seconds=round(time.process_time() - start))


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]), *sys.argv[3:4])
