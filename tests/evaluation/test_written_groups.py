"""Written names of groups as sets, on cases worked by hand."""

import pandas as pd
import pytest

from helpers.evaluation import generation
from helpers.evaluation.written_groups import (
    UNREADABLE,
    by_question,
    categories_of,
    category,
    compare_groups,
    read_groups,
    rouge_l,
    score_groups,
    set_f1,
)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("Black folks", {"black"}),
        ("blacks; the Jewish people", {"black", "jewish"}),
        ("women, trans women and lesbian women", {"women", "trans women", "lesbian women"}),
        ("Muslims/immigrants\nThe post says so.", {"muslim", "immigrant"}),
        ("none", set()),
        (" None. ", set()),
        ("", {UNREADABLE}),
        ("people", {UNREADABLE}),
        ("no group, none", set()),
        ("boss", {"boss"}),
        ("holocaust survivors/jewish folks", {"holocaust survivor", "jewish"}),
        ("This post targets a group of people who live far away from here today", {UNREADABLE}),
        ("women; all of those who live far away from here today", {"women", UNREADABLE}),
        ("persone di colore, donne è", {"persone di colore", "donne è"}),
    ],
)
def test_names(text, groups):
    assert read_groups(text) == groups


def test_scores_by_hand():
    table = score_groups(
        ["black people; women", "none", "women", "men"], [["black folks"], ["none"], ["none"], ["jews", "men"]]
    )
    assert table.exact.tolist() == [False, True, False, True]
    assert table["group F1"].tolist() == pytest.approx([2 / 3, 1, 0, 1])
    assert table["BLEU-2"].isna().tolist() == [False, True, True, False]
    assert table["ROUGE-L"][0] == pytest.approx(2 * 1 / (3 + 2)) and table["BLEU-2"][3] == pytest.approx(1)
    assert set_f1(frozenset("ab"), frozenset("bc")) == 0.5
    assert rouge_l(["a", "b", "c", "d"], ["b", "x", "d"]) == pytest.approx(4 / 7) and rouge_l([], []) == 1


def test_categories_are_learned_from_training_rows_alone():
    training = [{"target": "black folks", "category": "race"}, {"target": "blacks", "category": "culture"}]
    training += [{"target": "black people", "category": "race"}, {"target": "jews; blacks", "category": "several"}]
    known = categories_of(training, "category")
    assert known == {"black": "race"}
    assert category(frozenset(), known) == "none" and category(frozenset({"black"}), known) == "race"
    assert (
        category(frozenset({"jew"}), known) == "unknown" and category(frozenset({"jew", "black"}), known) == "several"
    )
    rows = [{"references": ["blacks"], "category": "race"}, {"references": ["none"], "category": "none"}]
    table = compare_groups({"right": ["black people", "none"], "wrong": ["jews", "jews"]}, rows, known, "category", 100)
    assert table["category F1"].tolist() == [1, 0] and table.exact.tolist() == [1, 0]
    assert "category F1" not in compare_groups({"right": ["a", "b"]}, rows, {}, "", 100)


def test_the_check_of_groups_is_one_of_a_writers_judges():
    rows = [
        {"id": str(i), "text": f"post {i}", "references": [target]}
        for i, target in enumerate(["women", "none", "jews"])
    ]
    outputs = ["Women", "none", "muslims"]
    checks = generation.run_checks("groups", rows, outputs)
    table = generation.judge_outputs(rows, outputs, lambda texts: pd.Series(1.0, range(len(texts))), checks=checks)
    systems = generation.compare_systems({"writer": table}, 100)
    assert systems.strict[0] == pytest.approx(2 / 3) and systems["group F1"][0] == pytest.approx(2 / 3)
    assert {"strict low", "group F1 high"} <= {*systems}


def test_answers_to_several_questions_are_scored_each_by_its_own():
    rows = [{"references": [a], "question": q} for q, a in (("o", "yes"), ("o", "no"), ("o", "maybe"), ("g", "women"))]
    rows += [{"references": [f"group{i}"], "question": "g"} for i in range(6)]
    outputs = ["Yes.", "no", "I think that it is not", "women", *["none"] * 6]
    table = by_question({"writer": outputs}, rows, "question", 100).set_index("question")
    assert table["count"].to_dict() == {"o": 3, "g": 7} and table.exact.to_dict() == pytest.approx(
        {"o": 2 / 3, "g": 1 / 7}
    )
    assert table.macro_f1["o"] == pytest.approx((1 + 1 + 0 + 0) / 4) and pd.isna(table.macro_f1["g"])


def test_what_is_no_answer_is_never_the_right_one():
    rows = [{"references": [a], "question": "o"} for a in ["no"] * 6 + ["yes"] * 4]
    for output in ("", "I cannot answer this question as a language model", "\n\n"):
        table = by_question({"x": [output] * 10}, rows, "question", 100)
        assert table.exact[0] == 0 and table.macro_f1[0] == 0, output
        assert score_groups([output], [["none"]])["group F1"][0] == 0
