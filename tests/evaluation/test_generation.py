"""Figures of written texts against values worked out by hand, and the embedded rewriting pairs."""

import numpy as np
import pandas as pd
import pytest

from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation import baselines
from helpers.evaluation import generation as metrics
from helpers.italian import gender
from helpers.italian.cues import find_cues

ROWS = [
    {"id": "1", "text": "Cerchiamo un cuoco.", "target": "Cerchiamo un/a cuoco/a.", "g": "a"},
    {"id": "2", "text": "Cerchiamo personale.", "target": "Cerchiamo personale.", "g": "a"},
    {"id": "3", "text": "Il sarto cuce.", "target": "Chi cuce.", "references": ["Chi cuce.", "La persona cuce."], "g": "b"},
]  # fmt: skip
OUTPUTS = ["Cerchiamo un/a cuoco/a.", "Cerchiamo personale.", ""]


def inclusive(texts):
    return np.array([not find_cues(t) for t in texts], float)


def letters(texts):
    return np.array([[t.count(c) for c in "aeio"] for t in texts], float)


def test_a_row_a_text():
    table = metrics.judge_outputs(ROWS, OUTPUTS, inclusive, letters, lambda texts: np.arange(len(texts)))
    assert table.compliance.tolist() == [True, True, False]  # an empty output has no cue, and is no rewriting
    assert table["exact match"].tolist() == [True, True, False] and table.copied.tolist() == [False, True, False]
    assert table["edits made"].tolist() == [2, 0, 1] and table["edits right"].tolist() == [2, 0, 0]
    assert table.chrF.tolist()[:2] == [100, 100] and table.similarity.round(3).tolist()[1:] == [1, 0]
    with pytest.raises(UserError, match="2 outputs for 3 rows"):
        metrics.judge_outputs(ROWS, OUTPUTS[:2], inclusive)


def test_the_nearest_reference_counts():
    near = metrics.judge_outputs(ROWS[2:], ["La persona cuce."], inclusive)
    assert near["exact match"].all() and near.chrF[0] == 100
    assert metrics.figures(near)["BLEU"] == pytest.approx(100) and metrics.figures(near)["edit F1"] == 1


def test_figures_are_means_over_the_rows():
    checks = pd.DataFrame({"agrees": [True, False, True]})
    table = metrics.judge_outputs(ROWS, OUTPUTS, inclusive, nll=lambda texts: np.log([2.0, 8.0, 4.0]), checks=checks)
    made = metrics.figures(table)
    assert made["count"] == 3 and made["compliance"] == made["agrees"] == pytest.approx(2 / 3)
    assert made["perplexity"] == pytest.approx(4) and made["empty"] == made["copied"] == pytest.approx(1 / 3)
    assert made["edit F1"] == pytest.approx(2 * 2 / (3 + 3)) and "similarity" not in made


def test_comparing_systems_with_intervals():
    rows = embedded.rewrites()[:60]
    systems = {
        "reference": [r["target"] for r in rows],
        "rules": [gender.neutralise(r["text"]) for r in rows],
        "copy": [r["text"] for r in rows],
    }
    tables = {name: metrics.judge_outputs(rows, outputs, inclusive) for name, outputs in systems.items()}
    table = metrics.compare_systems(tables, draws=200).set_index("system")
    assert table.loc["reference", "compliance"] > 0.95 and table.loc["reference", "chrF high"] == 100
    assert 90 < table.loc["reference", "chrF low"] < 100  # 60 rows without a fault
    assert table.loc["copy", "compliance"] < table.loc["rules", "compliance"] < 1 and table.loc["copy", "copied"] == 1
    for figure in ("compliance", "chrF"):
        assert (table[f"{figure} low"] <= table[figure]).all() and (table[figure] <= table[f"{figure} high"]).all()
    gap = metrics.paired_differences(tables["rules"], tables["copy"], 200).set_index("figure")
    assert gap.loc["compliance", "low"] > 0
    assert gap.loc["compliance", "difference"] == pytest.approx(
        table.loc["rules", "compliance"] - table.loc["copy", "compliance"]
    )
    with pytest.raises(UserError, match="same rows"):
        metrics.paired_differences(tables["rules"], tables["copy"].iloc[1:])


def test_groups_with_spread_and_worst():
    table = metrics.judge_outputs(ROWS, OUTPUTS, inclusive, nll=lambda texts: np.log([2.0, 2.0, 8.0]))
    groups = metrics.group_table(table, [r["g"] for r in ROWS], smallest=2)
    assert groups.group.tolist() == ["a", "b"] and groups["count"].tolist() == [2, 1]
    assert groups["distinct-2"].isna().tolist() == groups.too_few.tolist() == [False, True]
    assert (groups.compliance_low <= groups.compliance).all() and (groups.chrF <= groups.chrF_high).all()
    spread = metrics.group_spread(groups, 1).set_index("figure")
    assert spread.loc["compliance", ["spread", "its value"]].tolist() == [1, 0]
    assert spread.loc["compliance", "worst group"] == "b" == spread.loc["perplexity", "worst group"]
    assert spread.loc["perplexity", "spread"] == pytest.approx(6) and "copied" not in spread.index
    assert "exact match" in spread.index
    same = metrics.group_spread(groups.assign(chrF=50.0), 1).set_index("figure").loc["chrF"]
    assert same["worst group"] == "(all alike)" and same.spread == 0
    assert metrics.group_spread(groups, 2).empty and metrics.group_spread(groups, 3).empty  # one group has no spread


def test_diversity_of_groups_is_over_as_many_texts_and_words():
    words = ["uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci"]
    varied = [" ".join(np.random.default_rng(i).permutation(words)) for i in range(40)]
    texts = varied + ["uno due tre uno due tre uno due tre uno"] * 10
    rows = [{"id": str(i), "text": t, "target": t} for i, t in enumerate(texts)]
    table = metrics.judge_outputs(rows, texts, inclusive)
    groups = metrics.group_table(table, ["many"] * 40 + ["dull"] * 10, smallest=10).set_index("group")
    alone = metrics.group_table(table[:10], ["many"] * 10, smallest=10).set_index("group")
    assert groups.loc["many", "self-BLEU"] < groups.loc["dull", "self-BLEU"] == pytest.approx(100)
    assert groups.loc["many", ["distinct-2", "MTLD"]].tolist() == pytest.approx(
        alone.loc["many", ["distinct-2", "MTLD"]].tolist()
    )
    whole = metrics.figures(table[:40])
    assert groups.loc["many", "self-BLEU"] < whole["self-BLEU"]  # of 40 texts each has more that are like it than of 10
    worst = metrics.group_spread(groups.reset_index()).set_index("figure")["worst group"]
    assert worst[["distinct-2", "self-BLEU", "MTLD"]].tolist() == ["dull"] * 3


def test_worst_rows_first():
    table = metrics.judge_outputs(ROWS, ["Cerchiamo un cuoco.", "Personale.", "Chi cuce."], inclusive)
    assert metrics.worst_outputs(table, 2)["id"].tolist() == ["1", "2"]


def test_nearest_training_target():
    training = [{"text": "aaa", "target": "A"}, {"text": "eeo", "target": "E"}]
    assert metrics.nearest_targets(["aa", "eo", ""], training, letters)[:2] == ["A", "E"]
    texts = [r["text"] for r in embedded.rewrites()[:30]]
    rows = embedded.rewrites()[:30]
    assert metrics.nearest_targets(texts, rows, baselines.lsa) == [r["target"] for r in rows]
    with pytest.raises(UserError, match="run 03 first"):
        metrics.nearest_targets(["a"], [], letters)


def test_the_strict_check_passes_every_reference_and_no_copy_of_what_is_to_change():
    rows = embedded.rewrites()[::24]  # tests/italian/test_check.py takes all of them
    ours = metrics.run_checks("italian", rows, [r["target"] for r in rows])
    assert ours.all().all()
    copies = metrics.run_checks("italian", rows, [r["text"] for r in rows])
    assert (copies.strict == [r["text"] == r["target"] for r in rows]).all() and copies.untouched.all()
    either = [{"text": "Il cuoco arriva.", "references": ["Il/la cuoco/a arriva.", "Chi cucina arriva."]}]
    assert (
        metrics.run_checks("italian", either, ["Chi cucina arriva."]).strict.all()
        and metrics.run_checks("", rows, []) is None
    )
    with pytest.raises(UserError, match=r"must be one of .*italian"):
        metrics.run_checks("french", rows, [])


def test_what_is_saved_and_shown():
    table = metrics.judge_outputs(ROWS, OUTPUTS, inclusive)
    saved = metrics.output_records(table, ROWS, ["g"])
    assert saved[2]["g"] == "b" and saved[2]["checks"]["compliance"] is False and len(saved[2]["references"]) == 2
    assert metrics.readable_table(table).compliance.tolist() == [True, True, False]
