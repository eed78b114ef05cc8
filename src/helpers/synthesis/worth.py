"""Whether synthetic rows are worth training on: seed alone, with them, with as many duplicates; and how diverse they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.evaluation import baselines, detection, textstats
from helpers.task import Task


def shared_space(texts: Sequence[str], seed: int = 0) -> Callable[[Sequence[str]], np.ndarray]:
    """Latent semantic embeddings fitted on all of the texts, as a function that looks up theirs."""
    unique = list(dict.fromkeys(texts))
    position, vectors = {text: i for i, text in enumerate(unique)}, baselines.lsa(unique, seed=seed)
    return lambda some: vectors[[position[text] for text in some]]


def training_sets(seed_rows: list[dict], synthetic: list[dict], seed: int = 0) -> dict[str, list[dict]]:
    """Name → rows: the seed alone, and with as many of its own rows drawn again, all synthetic rows, those of each method."""
    again = np.random.default_rng(seed).integers(0, len(seed_rows), len(synthetic))
    sets = {"seed": seed_rows, "seed + duplicates": [*seed_rows, *(seed_rows[i] for i in again)]}
    sets["seed + synthetic"] = [*seed_rows, *synthetic]
    methods = list(dict.fromkeys(r["method"] for r in synthetic))
    for method in methods if len(methods) > 1 else []:
        sets[f"seed + {method}"] = [*seed_rows, *(r for r in synthetic if r["method"] == method)]
    return sets


def gains(
    sets: dict[str, list[dict]],
    evaluation: list[dict],
    make: Callable[[], Any],
    task: Task,
    draws: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a training set: rows, macro-F1 on the evaluation rows, gain over the seed with its 95 % paired bootstrap interval.

    `make` gives an untrained learner. The interval is over evaluation rows; one training is one draw. NaN where the
    training rows, or the seed, have one class only.
    """
    truth = np.array(task.index([r["label"] for r in evaluation]))
    texts, rows, base = [r["text"] for r in evaluation], [], None
    for name, training in sets.items():
        if len({r["label"] for r in training}) < 2 or (rows and base is None):
            rows.append({"training rows": name, "rows": len(training)})
            continue
        learner = make()
        learner.fit(training, seed)
        predicted = learner.predict_proba(texts).argmax(1)
        base = predicted if base is None else base
        gain = detection.paired_difference(truth, predicted, base, draws, seed)
        rows.append(
            {"training rows": name, "rows": len(training), "macro_f1": detection.macro_f1(truth, predicted)} | gain
        )
    columns = ["training rows", "rows", "macro_f1", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"difference": "gain"})


def verdict(table: pd.DataFrame, learner: str) -> str:
    """What the gains say, in a sentence: synthetic rows help, hurt, or do not help."""
    row = table.set_index("training rows").loc["seed + synthetic"]
    again = table.set_index("training rows").loc["seed + duplicates", "gain"]
    if not np.isfinite(row.gain):
        return "The seed holds one class only, so that nothing can be compared."
    if row["rows"] == table["rows"].iloc[0]:
        return f"No synthetic row was accepted: nothing changes for {learner}."
    figures = f"{row.gain:+.3f} macro-F1 (95 % interval {row.low:+.3f} to {row.high:+.3f})"
    beside = f"as many duplicates of seed rows bring {again:+.3f}"
    if row.low > 0 and row.gain > again:
        return f"The synthetic rows help {learner}: {figures}; {beside}."
    if row.high < 0:
        return f"The synthetic rows hurt {learner}: {figures}; {beside}. Leave them out of 03 (use_synthetic: false)."
    reason = "the interval includes no gain" if row.low <= 0 else "duplicates help as much"
    return f"The synthetic rows do not help {learner}: {figures}, {reason}; {beside}."


def diversity(
    sets: dict[str, list[str]], pool: list[str], embed: Callable[[list[str]], np.ndarray], seed: int = 0
) -> pd.DataFrame:
    """One row a set of texts: size, distinct-n, self-BLEU, share of words the first set has not, coverage of the pool's embeddings.

    self-BLEU is taken over the same number of texts from each set, as it grows with the number.
    """
    first = next(iter(sets.values()))
    sample = min([50, *(len(texts) for texts in sets.values() if texts)])
    vectors, rows = embed(pool), []
    for name, texts in sets.items():
        covered = textstats.coverage(vectors, embed(texts)) if len(pool) > 5 and texts else float("nan")
        rows.append(
            {"set": name, **textstats.diversity(texts)}
            | {"self-BLEU": round(textstats.self_bleu(texts, sample, seed), 1)}
            | {"new words": round(textstats.new_words(texts, first), 3), "pool covered": round(covered, 3)}
        )
    return pd.DataFrame(rows)


def growth(sets: dict[str, list[str]], seed: int = 0) -> pd.DataFrame:
    """Vocabulary against words of each set in random order: columns set, words, vocabulary."""
    rng = np.random.default_rng(seed)
    shuffled = {name: [texts[i] for i in rng.permutation(len(texts))] for name, texts in sets.items() if texts}
    return pd.concat([textstats.vocabulary_growth(texts).assign(set=name) for name, texts in shuffled.items()])
