"""The worst group of a column: with few rows it is not named, and the best of luck is no proof."""

import numpy as np
import pytest

from helpers.evaluation.groups import large_groups, worst_groups


def test_the_worst_group_is_set_against_all_other_rows():
    hits = np.array([True] * 90 + [False] * 10 + [True] * 20 + [False] * 30 + [False] * 6)
    names = ["good"] * 100 + ["bad"] * 50 + ["six"] * 6
    table = worst_groups(hits, {"who": names, "one": ["x"] * 156, "empty": [""] * 78 + ["y"] * 78})
    assert table.group_column.tolist() == ["who", "empty"]
    row = table.iloc[0]
    assert (row.worst_group, row["count"], row.groups_compared) == ("bad", 50, 2)  # six rows are never compared
    assert row.share == 0.4 and row.share_of_the_rest == pytest.approx(90 / 106)
    assert row.low < row.difference < row.high < 0
    assert list(large_groups(names, 51)) == ["good"] and "(none)" in large_groups(["", "a"], 1)


def test_the_worst_of_many_equal_groups_is_not_proven_worse():
    """Without the correction, one of forty would be found in most draws."""
    found = 0
    for seed in range(60):
        hits = np.random.default_rng(seed).random(1200) < 0.8
        table = worst_groups(hits, {"who": [f"g{i % 40}" for i in range(1200)]})
        found += table.high.iloc[0] < 0
    assert found <= 6


@pytest.mark.parametrize("share", [0, 1])
def test_of_groups_that_fare_alike_none_is_the_worst(share):
    row = worst_groups(np.full(40, share, bool), {"who": ["a"] * 20 + ["b"] * 20, "too": ["x"] * 40}).iloc[0]
    assert row.worst_group is None and row.groups_compared == 2 and row.share == share
    assert not row.high < 0 and np.isnan(row.difference)


def test_nothing_to_compare_is_an_empty_table():
    assert worst_groups(np.ones(5, bool), {}).empty and list(worst_groups(np.ones(5, bool), {}).columns)
