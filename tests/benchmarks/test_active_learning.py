"""What the benchmark of query strategies says beside macro-F1."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.benchmarks.active_learning import along, summarise, with_other_sets


@pytest.fixture
def table() -> pd.DataFrame:
    """Six seeds, two batches; `careful` finds 0.2 more of the worst group and half as many positives, at equal macro-F1."""
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
    found = summarise(table, "s", 1.0, 100).set_index("strategy").loc["careful"]
    assert found.gain == 0 and found.p == 1
    assert found.worst_group_gain == pytest.approx(0.2) and found.worst_group_p == pytest.approx(2 / 2**6, abs=1e-4)
    assert found.worst_group_area_low < found.worst_group_area < found.worst_group_area_high
    assert found.positive_share_area == pytest.approx(0.2) and found.positive_share_gain == pytest.approx(-0.2)


def test_batch_by_batch(table):
    found = along(table).set_index(["set", "strategy", "measure"])
    assert found.loc[("s", "random", "worst_group")].tolist() == pytest.approx([0.325, 0.325])
    assert found.loc[("s", "careful", "positive_share")].tolist() == pytest.approx([0.2, 0.2])


def test_a_report_of_one_set_leaves_the_rows_of_the_others(tmp_path):
    file = tmp_path / "curves.csv"
    had = pd.DataFrame({"set": ["a", "b"], "strategy": "random", "seed": 0, "50": [0.1, 0.2], "200": [0.3, None]})
    had.to_csv(file, index=False)
    new = pd.DataFrame({"set": ["b"], "strategy": ["random"], "seed": [0], 50: [0.7], 100: [0.8]})
    found = with_other_sets(file, new)
    assert list(found) == ["set", "strategy", "seed", "50", "100", "200"]
    assert found.set_index("set")["50"].to_dict() == {"a": 0.1, "b": 0.7}
    assert with_other_sets(tmp_path / "none.csv", new).equals(new.rename(columns=str))
