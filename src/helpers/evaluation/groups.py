"""Groups of test rows: which is served worst, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import rate_difference

WORST = ["group_column", "groups_compared", "worst_group", "count", "share", "share_of_the_rest"]
WORST += ["difference", "low", "high"]


def large_groups(names: Sequence[str], smallest: int) -> dict[str, np.ndarray]:
    """Name → which rows (bool) of every group with at least `smallest` rows; an empty name reads "(none)"."""
    names = pd.Series(list(names), dtype=object).replace("", "(none)")
    return {name: (names == name).to_numpy() for name, count in names.value_counts().items() if count >= smallest}


def worst_groups(
    hits: np.ndarray, groups: dict[str, Sequence[str]], smallest: int = 10, clusters: Sequence | None = None
) -> pd.DataFrame:
    """By column of `groups`: the group with the lowest share of True in `hits` (rows,), against all other rows.

    Groups under `smallest` rows are not compared, and a column without two others has no row; where the shares of all
    are the same, none is the worst, and the row names none. The 95 %
    intervals (`low`, `high`) of the differences hold together for every group of every column, so that
    the worst of many is not found worse by chance alone (Bonferroni): below zero, the group is served worse.
    """
    clusters = np.arange(len(hits)) if clusters is None else np.asarray(clusters)
    parts = {column: large_groups(names, smallest) for column, names in groups.items()}
    parts = {column: members for column, members in parts.items() if len(members) > 1}
    tests, rows = sum(map(len, parts.values())), []
    for column, members in parts.items():
        share_of = {name: hits[of].mean() for name, of in members.items()}
        worst = min(share_of, key=share_of.__getitem__)
        of = members[worst]
        difference = rate_difference(hits[of], hits[~of], (clusters[of], clusters[~of]), tests)
        shares = hits[of].mean(), hits[~of].mean()
        if len(set(share_of.values())) == 1:
            nothing = [float("nan")] * (len(difference) + 1)
            rows.append([column, len(members), None, None, shares[0], *nothing])
        else:
            rows.append([column, len(members), worst, int(of.sum()), *shares, *difference])
    return pd.DataFrame(rows, columns=WORST).astype({"count": "Int64"})
