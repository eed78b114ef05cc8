"""Whether synthetic rows improve a learner more than duplicates of seed rows do, and how diverse they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from helpers.evaluation import baselines, detection, textstats
from helpers.task import Task


def shared_space(texts: Sequence[str], seed: int = 0) -> Callable[[Sequence[str]], np.ndarray]:
    """Latent semantic embeddings fitted on all of the texts, as a function that looks up the rows of some of them."""
    unique = list(dict.fromkeys(texts))
    position, vectors = {text: i for i, text in enumerate(unique)}, baselines.lsa(unique, seed=seed)
    return lambda some: vectors[[position[text] for text in some]]


def training_sets(seed_rows: list[dict], synthetic: list[dict], seed: int = 0) -> dict[str, list[dict]]:
    """Training sets to compare, by name: the seed alone, with duplicates, with all synthetic rows, with each method's."""
    draws = np.random.default_rng(seed).integers(0, len(seed_rows), len(synthetic))
    added = {"duplicates": [seed_rows[i] for i in draws], "synthetic": synthetic}
    methods = list(dict.fromkeys(r["method"] for r in synthetic))
    if len(methods) > 1:
        added |= {method: [r for r in synthetic if r["method"] == method] for method in methods}
    return {"seed": seed_rows} | {f"seed + {name}": [*seed_rows, *rows] for name, rows in added.items()}


def gains(
    sets: dict[str, list[dict]], evaluation: list[dict], make: Callable, task: Task, draws: int = 300, seed: int = 0
) -> pd.DataFrame:
    """Train on each of `training_sets`, each time a learner from `make`, and measure the gain over the first, the seed.

    The columns are training rows (the name), rows, macro_f1, gain, and the gain's 95 % paired bootstrap interval (low,
    high), which leaves out chance in training. NaN where the set or the seed has one class only.
    """
    truth = np.array(task.index([r["label"] for r in evaluation]))
    texts, rows, baseline = [r["text"] for r in evaluation], [], None
    for name, training in sets.items():
        row = {"training rows": name, "rows": len(training)}
        rows.append(row)
        if len({r["label"] for r in training}) < 2 or (len(rows) > 1 and baseline is None):
            continue
        learner = make()
        learner.fit(training, seed)
        predicted = learner.predict_proba(texts).argmax(1)
        baseline = predicted if baseline is None else baseline
        row["macro_f1"] = detection.macro_f1(truth, predicted)
        row |= {"difference": 0.0, "low": 0.0, "high": 0.0}  # of the seed from itself
        if predicted is not baseline:
            row |= detection.paired_difference(truth, predicted, baseline, draws, seed)
    columns = ["training rows", "rows", "macro_f1", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"difference": "gain"})


def verdict(table: pd.DataFrame, learner: str) -> str:
    """Say in one sentence whether the synthetic rows help, hurt, or do not help; `table` is that of `gains`."""
    by_name = table.set_index("training rows")
    row, duplicates_gain = by_name.loc["seed + synthetic"], by_name.loc["seed + duplicates", "gain"]
    if not np.isfinite(row.gain):
        return "The seed has one class only, so nothing can be compared."
    if row["rows"] == table["rows"].iloc[0]:
        return f"No synthetic row was accepted: nothing changes for {learner}."
    figures = f"{row.gain:+.3f} macro-F1 (95 % interval {row.low:+.3f} to {row.high:+.3f})"
    comparison = f"as many duplicates of seed rows bring {duplicates_gain:+.3f}."
    if row.low > 0 and row.gain > duplicates_gain:
        return f"The synthetic rows help {learner}: {figures}; {comparison}"
    if row.high < 0:
        comparison += " Leave them out of 03 (use_synthetic: false)."
        return f"The synthetic rows hurt {learner}: {figures}; {comparison}"
    reason = "the interval includes no gain" if row.low <= 0 else "duplicates help as much"
    return f"The synthetic rows do not help {learner}: {figures}, {reason}; {comparison} 03 uses them unless use_synthetic: false."


def diversity(sets: dict[str, list[str]], pool: list[str], embed: Callable, seed: int = 0) -> pd.DataFrame:
    """One row a set of texts: size, distinct-n, self-BLEU, share of words new to the first set, share of pool covered.

    Self-BLEU grows with the number of texts, so it is taken over the same number from each set.
    """
    first = next(iter(sets.values()))
    sample = min([50, *(len(texts) for texts in sets.values() if texts)])
    vectors, rows = embed(pool), []
    for name, texts in sets.items():
        row = {"set": name, **textstats.diversity(texts)}
        row["self-BLEU"] = round(textstats.self_bleu(texts, sample, seed), 1)
        row["new words"] = round(textstats.new_words(texts, first), 3)
        covered = textstats.coverage(vectors, embed(texts)) if len(pool) > 5 and texts else float("nan")
        rows.append(row | {"pool covered": round(covered, 3)})
    return pd.DataFrame(rows)


def growth(sets: dict[str, list[str]], seed: int = 0) -> pd.DataFrame:
    """Vocabulary of each set as its texts are read in random order: columns set, words (read so far), vocabulary."""
    rng = np.random.default_rng(seed)
    shuffled = {name: [texts[i] for i in rng.permutation(len(texts))] for name, texts in sets.items() if texts}
    return pd.concat([textstats.vocabulary_growth(texts).assign(set=name) for name, texts in shuffled.items()])
