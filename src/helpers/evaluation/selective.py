"""How much a model may answer alone: agreement with people against the share of texts answered, and a promise that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import binom

from helpers.evaluation.intervals import wilson_interval

PROMISES = (0.8, 0.9, 0.95)  # agreements with people that a report looks at
ERROR = 0.05  # how often a promise may be broken
STEPS = 20  # shares of the texts that are tried: 5 %, 10 %, …
BEARABLE = (
    3  # wrong answers that the first test is to bear, where rows are many: else a single slip would end all tests
)
FURTHEST = 1_000_000  # labels beyond which nobody is told how many it would take


@dataclass(frozen=True)
class Promise:
    """From which confidence on a model's answers agree with people's in at least the share `agreement` of the texts.

    `threshold` is infinite where nothing can be promised, and `reason` then says why; `rows` are the labelled texts that
    the promise rests on, of the `hits` among which the model is right.
    """

    agreement: float
    threshold: float
    rows: int = 0
    hits: int = 0
    reason: str = ""

    @property
    def basis(self) -> str:
        """What the promise rests on, in words."""
        found = f"of the {self.rows} labelled rows with such answers {self.hits} are right"
        return f"from a confidence of {self.threshold:.3f} on, an agreement of {percent(self.agreement)} is promised: {found}"


def risk_coverage(confidence: np.ndarray, is_right: np.ndarray) -> pd.DataFrame:
    """Share of right answers among the most confident, by their share of all texts: columns coverage, agreement, confidence.

    The curve of selective classification (El-Yaniv and Wiener 2010), at every confidence that occurs.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence, hits = confidence[order], np.cumsum(is_right[order])
    last = np.append(
        np.flatnonzero(np.diff(sorted_confidence)), len(order) - 1
    )  # of equal ones all or none are answered
    covered = last + 1
    columns = {"coverage": covered / len(order), "agreement": hits[last] / covered}
    return pd.DataFrame(columns | {"confidence": sorted_confidence[last]})


def promise(
    confidence: np.ndarray,
    is_right: np.ndarray,
    unlabelled: np.ndarray,
    agreement: float,
    clusters: Sequence | None = None,
    error: float = ERROR,
) -> Promise:
    """The lowest confidence from which answers to further texts agree with people at least so often.

    Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052) with fixed-sequence testing: thresholds that let 5 %, 10 %,
    … of the unlabelled texts pass are tested in this order, each by the exact binomial test of its labelled rows, until one
    fails. With labelled rows drawn as the further texts are, the promise is broken in at most the share `error` of all draws
    of them, whatever the model is.

    Parameters
    ----------
    confidence, is_right : arrays (rows,)
        Of labelled texts that the model has not been trained on, and that served no choice of it.
    unlabelled : float array
        Confidence in the texts to be answered: the thresholds come from them, and so depend on no label.
    agreement : float
        The share promised.
    clusters : of the labelled rows, optional
        Of rows that were made from one text the first alone counts: they are no independent evidence.
    error : float
        How often the promise may be broken.
    """
    if clusters is not None:
        first = np.sort(np.unique(np.asarray(clusters), return_index=True)[1])
        confidence, is_right = confidence[first], is_right[first]
    if not len(unlabelled):
        return Promise(agreement, np.inf, reason="no text is left to be answered")
    fewest, labelled = fewest_rows(agreement, error), len(confidence)
    if labelled < fewest:
        needed = f"a promise of {percent(agreement)} takes at least {fewest:,} labelled rows that the model has not learned from"
        return Promise(agreement, np.inf, reason=f"{needed}, and there are {labelled}: {fewest - labelled:,} more")
    thresholds = np.quantile(unlabelled, 1 - np.arange(1, STEPS + 1) / STEPS)
    counted = [(int((confidence >= t).sum()), int(is_right[confidence >= t].sum())) for t in thresholds]
    start, kept = _first_share(labelled, agreement, error), None
    for threshold, (rows, hits) in zip(thresholds[start:], counted[start:], strict=True):
        if not rows or binom.cdf(rows - hits, rows, 1 - agreement) > error:
            break
        kept = Promise(agreement, float(threshold), rows, hits)
    return kept or Promise(agreement, np.inf, reason=_why(counted, labelled, agreement, error))


@lru_cache(maxsize=100)
def fewest_rows(agreement: float, error: float = ERROR, wrong: int = 0) -> int:
    """The fewest labelled rows of which with so many wrong answers an agreement can be promised."""
    rows = np.arange(wrong + 1, max(100, int(np.ceil(40 * (wrong + 1) / (1 - agreement)))))
    return int(rows[np.argmax(binom.cdf(wrong, rows, 1 - agreement) <= error)])


def _first_share(labelled: int, agreement: float, error: float) -> int:
    """The place of the smallest share of which so many labelled rows can prove an agreement; it depends on no answer."""
    bears = [wrong for wrong in range(BEARABLE + 1) if 2 * fewest_rows(agreement, error, wrong) <= labelled]
    enough = fewest_rows(agreement, error, max(bears, default=0))
    return min(STEPS, int(np.ceil(STEPS * enough / labelled))) - 1


def _why(counted: list[tuple[int, int]], labelled: int, agreement: float, error: float) -> str:
    """Why nothing can be promised, and how many more labelled rows it would take if further ones were like these.

    `counted` has (rows, right answers) among the labelled rows at every share.
    """
    rows, hits = counted[_first_share(labelled, agreement, error)]
    found = f"of the {rows:,} labelled rows with the most confident answers {hits:,} are right"
    factor = 1.05
    while factor * labelled < FURTHEST:
        rows, hits = counted[_first_share(int(factor * labelled), agreement, error)]
        if rows and binom.cdf(np.ceil(factor * (rows - hits)), np.floor(factor * rows), 1 - agreement) <= error:
            more = int(np.ceil(factor * labelled)) - labelled
            return f"{found}: as a proof that is too little; some {more:,} more labelled rows like these might do"
        factor *= 1.05
    return f"{found}, and of no smaller number enough: that takes a better model, not more labels"


def percent(share: float) -> str:
    """A share as a sentence has it, such as 99.9 %."""
    return f"{100 * share:g} %"


def promise_table(
    promises: Sequence[Promise], confidence: np.ndarray, is_right: np.ndarray, clusters: Sequence | None = None
) -> pd.DataFrame:
    """What became of promises on test rows, which made none of them.

    Columns: promised, from_confidence (NaN where nothing is promised), share_answered and count of the test rows, agreement
    with its 95 % interval, labelled_rows (that the promise rests on), why_not.
    """
    names = np.arange(len(confidence)) if clusters is None else np.asarray(clusters)
    rows = []
    for kept in promises:
        passing = confidence >= kept.threshold
        low, high = wilson_interval(is_right[passing], names[passing])
        rows.append(
            {
                "promised": kept.agreement,
                "from_confidence": kept.threshold if np.isfinite(kept.threshold) else np.nan,
                "share_answered": passing.mean(),
                "count": int(passing.sum()),
                "agreement": is_right[passing].mean() if passing.any() else np.nan,
                "low": low,
                "high": high,
                "labelled_rows": kept.rows,
                "why_not": kept.reason,
            }
        )
    return pd.DataFrame(rows)


def savings(promises: pd.DataFrame, bought: int, seconds: float, hour_price: float) -> pd.DataFrame:
    """What each promise of `promise_table` that can be kept saves people in a thousand texts.

    Columns: promised, labels_saved, answers_against_people (of these, as on the test rows), with `seconds` a label also
    hours_saved, with a price of an hour also cost_saved, and earned_back_after, the texts after which the `bought` labels
    of people are.
    """
    kept = promises[promises.share_answered > 0]
    saved = 1000 * kept.share_answered
    table = pd.DataFrame({"promised": kept.promised.map(percent), "labels_saved": saved.round().astype(int)})
    table["answers_against_people"] = (saved * (1 - kept.agreement)).round().astype(int)
    if seconds:
        table["hours_saved"] = (saved * seconds / 3600).round(1)
        if hour_price:
            table["cost_saved"] = (saved * seconds / 3600 * hour_price).round(2)
    table["earned_back_after"] = np.ceil(bought / kept.share_answered).astype(int)
    return table
