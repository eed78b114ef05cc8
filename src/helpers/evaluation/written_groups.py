"""Names of groups of people that a model writes, read as sets and scored against those that annotators named."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.detection import macro_f1
from helpers.evaluation.intervals import bootstrap_interval, mean_interval
from helpers.text import bare_words

UNREADABLE = "(unreadable)"
NOBODY = {"none", "no group", "nobody", "no one", "n/a", "no"}
GENERIC = {"people", "folk", "folks", "person", "persons", "individuals", "community", "the", "a", "an"}
LONGEST = 6  # words of a name: what is longer is a sentence, and no name
MOST_ANSWERS = 5  # of a question whose answers are classes
SCORES = ("exact", "group F1", "BLEU-2", "ROUGE-L")


def read_groups(text: str) -> frozenset[str]:
    """The groups that the first line of a text names, normalised; empty where it says that there is none.

    Names stand between commas, semicolons, slashes, *and* or *or*. Normalised is a name in small letters without articles
    and words such as *people* or *folks*, its last word in the singular by an *s* less: *Black folks*, *black people* and
    *blacks* are one. What is no name, such as a text without a word or a name of more than LONGEST words, is UNREADABLE,
    which no reference has.
    """
    line = next(iter(unicodedata.normalize("NFKC", text).strip().casefold().splitlines()), "")
    names, says_none = set(), False
    for part in re.split(r"[;,/]|\band\b|\bor\b", line):
        words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", part)
        says_none |= " ".join(words) in NOBODY
        words = [word for word in words if word not in GENERIC]
        if not words or " ".join(words) in NOBODY:
            continue
        last = words[-1]
        words[-1] = last[:-1] if len(last) > 3 and last.endswith("s") and not last.endswith("ss") else last
        names.add(" ".join(words) if len(words) <= LONGEST else UNREADABLE)
    return frozenset(names) if names or says_none else frozenset({UNREADABLE})


def set_f1(found: frozenset[str], named: frozenset[str]) -> float:
    """F1 of two sets; 1 where both are empty."""
    total = len(found) + len(named)
    return 2 * len(found & named) / total if total else 1.0


def score_groups(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A row a text: `exact` (the same set) and `group F1`, of the reference that fits best; and for texts that target a
    group `BLEU-2` and `ROUGE-L` (0 to 1) of the words, else NaN.
    """
    from sacrebleu.metrics import BLEU

    bleu, rows = BLEU(max_ngram_order=2, effective_order=True, tokenize="none"), []
    for output, targets in zip(outputs, references, strict=True):
        found, named = read_groups(output), [read_groups(target) for target in targets]
        f1 = max(set_f1(found, own) for own in named)
        row = {"exact": found in named, "group F1": f1, "BLEU-2": np.nan, "ROUGE-L": np.nan}
        if any(named):
            words = bare_words(output)
            row["BLEU-2"] = bleu.sentence_score(words, [bare_words(target) for target in targets]).score / 100
            row["ROUGE-L"] = max(rouge_l(words.split(), bare_words(target).split()) for target in targets)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(SCORES))


def rouge_l(output: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words (Lin 2004)."""
    lengths = np.zeros(len(reference) + 1, int)
    for word in output:
        before = lengths.copy()
        for place, other in enumerate(reference, 1):
            lengths[place] = before[place - 1] + 1 if word == other else max(before[place], lengths[place - 1])
    total = len(output) + len(reference)
    return 2 * int(lengths[-1]) / total if total else 1.0


def categories_of(training: Sequence[dict], column: str) -> dict[str, str]:
    """Normalised group → the category in `column` that training rows of this group alone have most often."""
    counts: dict[str, Counter] = {}
    for row in training:
        groups = read_groups(row["target"])
        if len(groups) == 1 and row.get(column):
            counts.setdefault(*groups, Counter())[row[column]] += 1
    return {group: own.most_common(1)[0][0] for group, own in counts.items()}


def category(groups: frozenset[str], known: dict[str, str]) -> str:
    """The category of a set of groups: `none`, `several`, that of its groups, or `unknown` where no training row has them."""
    own = {known.get(group, "unknown") for group in groups}
    return "none" if not own else own.pop() if len(own) == 1 else "several"


def compare_groups(
    outputs: dict[str, Sequence[str]], rows: Sequence[dict], known: dict[str, str], column: str, draws: int = 1000
) -> pd.DataFrame:
    """One row a system: SCORES and the macro-F1 of the categories, each with its 95 % bootstrap interval over texts."""
    references, table = [row["references"] for row in rows], []
    names = (
        sorted({*known.values(), *(row.get(column, "none") for row in rows), "none", "several", "unknown"})
        if column
        else []
    )
    truth = np.array([names.index(row.get(column, "none")) for row in rows]) if column else None
    for system, written in outputs.items():
        scores, row = score_groups(written, references), {"system": system}
        for name in SCORES:
            values = scores[name].dropna().to_numpy(float)
            low, high = mean_interval(values, draws=draws)
            row |= {name: values.mean() if len(values) else np.nan, f"{name} low": low, f"{name} high": high}
        if column:
            found = np.array([names.index(category(read_groups(text), known)) for text in written])
            low, high = bootstrap_interval(macro_f1, truth, found, draws=draws)
            row |= {"category F1": float(macro_f1(truth, found)), "category F1 low": low, "category F1 high": high}
        table.append(row)
    return pd.DataFrame(table)


def by_question(
    outputs: dict[str, Sequence[str]], rows: Sequence[dict], column: str, draws: int = 1000
) -> pd.DataFrame:
    """For each value of `column` and each system the share of exact answers and, where answers are classes, their macro-F1.

    Classes are what a question's references have, if these are at most MOST_ANSWERS; any other output is wrong.
    """
    table = []
    for question in dict.fromkeys(row[column] for row in rows):
        of = [i for i, row in enumerate(rows) if row[column] == question]
        named = [read_groups(rows[i]["references"][0]) for i in of]
        classes = sorted(set(named), key=sorted)
        for system, written in outputs.items():
            found = [read_groups(written[i]) for i in of]
            exact = np.array([a == b for a, b in zip(found, named, strict=True)], float)
            low, high = mean_interval(exact, draws=draws)
            row = {"question": question, "system": system, "count": len(of), "exact": exact.mean()}
            row |= {"exact low": low, "exact high": high}
            if len(classes) <= MOST_ANSWERS:
                truth = np.array([classes.index(own) for own in named])
                answers = np.array([classes.index(own) if own in classes else len(classes) for own in found])
                low, high = bootstrap_interval(macro_f1, truth, answers, draws=draws)
                row |= {"macro_f1": float(macro_f1(truth, answers)), "macro_f1 low": low, "macro_f1 high": high}
            table.append(row)
    return pd.DataFrame(table)
