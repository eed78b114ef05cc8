"""Time at twice the size over time at the size, one JSON line each: 2 is linear, 4 is the square.

python -m tests.benchmarks.growth [near_duplicates] [italian] [changes]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from helpers.data import embedded
from helpers.data.records import near_duplicate_groups
from helpers.evaluation.report import changes
from helpers.italian import gender, requirements
from helpers.italian.cues import LAWFUL, find_cues


def report(name: str, function: Callable, make: Callable[[int], tuple], size: int) -> None:
    seconds = []
    for count in (size, 2 * size):
        inputs = make(count)
        start = time.perf_counter()
        function(*inputs)
        seconds.append(time.perf_counter() - start)
    ratio = round(seconds[1] / seconds[0], 1)
    print(json.dumps({"figure": name, "size": 2 * size, "ratio": ratio, "seconds": round(seconds[1], 1)}), flush=True)


def templated(count: int, places: int) -> list[str]:
    """Texts of 60 words, of which so many are a text's own; the rest is one template."""
    words, texts = [f"t{k}" for k in range(60)], []
    for i in range(count):
        for place in range(places):
            words[place * 60 // places] = f"v{i}x{place}"
        texts.append(" ".join(words))
    return texts


def near_duplicates() -> None:
    for name, places in (("mostly linked", 2), ("sharing buckets, not linked", 6)):
        make = lambda n, places=places: (templated(n, places),)  # noqa: E731
        report(f"near-duplicates, {name}", near_duplicate_groups, make, 15_000)


def italian() -> None:
    ads = [r["text"] for r in embedded.pool_texts() if not LAWFUL.search(r["text"])]
    text = "\n".join(ads * 2)
    make = lambda n: (text[:n],)  # noqa: E731
    report("cues", find_cues, make, 500_000)
    # other sizes than the cues': the phrases of a text are kept
    report("neutralise", gender.neutralise, make, 100_000)
    report("without requirements", requirements.without_requirements, make, 110_000)


def marked_changes() -> None:
    def make(count: int) -> tuple[str, str]:
        sentences = [f"Frase numero {i} del testo." for i in range(count)]
        return " ".join(sentences), " ".join(
            s.replace("del", "nel") if i % 10 == 0 else s for i, s in enumerate(sentences)
        )

    report("changes marked", changes, make, 20_000)


if __name__ == "__main__":
    figures = {"near_duplicates": near_duplicates, "italian": italian, "changes": marked_changes}
    for name in sys.argv[1:] or figures:
        figures[name]()
