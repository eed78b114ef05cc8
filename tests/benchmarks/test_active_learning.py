"""What the benchmark of query strategies reports next to macro-F1."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.benchmarks.active_learning import along, summarise, with_other_sets


@pytest.fixture
def table() -> pd.DataFrame:
    """Six seeds, two batches; `careful` has 0.2 more on the worst group, half the positives, equal macro-F1."""
    return pd.DataFrame(
        {
            "set": "s",
            "strategy": name,
            "seed": seed,
            "labels": labels,
            "macro_f1": 0.6 + 0.01 * seed + labels / 1000,
            "worst_group": 0.3 + 0.01 * seed + (0.2 if name == "careful" else 0),
            "positives": labels * (0.2 if name == "careful" else 0.4),
        }
        for name in ("random", "careful")
        for seed in range(6)
        for labels in (50, 100)
    )


def test_worst_group_and_class_balance_have_intervals_and_paired_tests(table):
    row = summarise(table, "s", 1.0, 100).set_index("strategy").loc["careful"]
    assert row.gain == 0 and row.p == 1
    assert row.worst_group_gain == pytest.approx(0.2) and row.worst_group_p == pytest.approx(2 / 2**6, abs=1e-4)
    assert row.worst_group_area_low < row.worst_group_area < row.worst_group_area_high
    assert row.positive_share_area == pytest.approx(0.2) and row.positive_share_gain == pytest.approx(-0.2)


def test_batch_by_batch(table):
    curves = along(table).set_index(["set", "strategy", "measure"])
    assert curves.loc[("s", "random", "worst_group")].tolist() == pytest.approx([0.325, 0.325])
    assert curves.loc[("s", "careful", "positive_share")].tolist() == pytest.approx([0.2, 0.2])


def test_a_report_of_one_set_leaves_the_rows_of_the_others(tmp_path):
    file = tmp_path / "curves.csv"
    before = pd.DataFrame({"set": ["a", "b"], "strategy": "random", "seed": 0, "50": [0.1, 0.2], "200": [0.3, None]})
    before.to_csv(file, index=False)
    new = pd.DataFrame({"set": ["b"], "strategy": ["random"], "seed": [0], 50: [0.7], 100: [0.8]})
    merged = with_other_sets(file, new)
    assert list(merged) == ["set", "strategy", "seed", "50", "100", "200"]
    assert merged.set_index("set")["50"].to_dict() == {"a": 0.1, "b": 0.7}
    assert with_other_sets(tmp_path / "none.csv", new).equals(new.rename(columns=str))
