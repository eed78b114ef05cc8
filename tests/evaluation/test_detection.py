"""Scores, groups, calibration: against values worked out by hand, and against scikit-learn."""

import time

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from helpers.data.records import with_every_own_id
from helpers.evaluation import detection, intervals
from helpers.task import Task

TRUTH = np.array([0, 0, 0, 1, 1, 1, 1, 0])
ANSWER = np.array([0, 0, 1, 1, 1, 0, 1, 0])


def test_macro_f1_is_that_of_scikit_learn_row_by_row():
    assert detection.macro_f1(TRUTH, ANSWER) == pytest.approx(0.75)
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 3, (50, 6)), rng.integers(0, 3, (50, 6))  # many rows lack a class
    expected = [f1_score(t, a, average="macro", zero_division=0) for t, a in zip(truth, answers, strict=True)]
    assert detection.macro_f1(truth, answers) == pytest.approx(expected)


def test_a_score_lies_in_its_interval():
    score = detection.score_with_interval(TRUTH, ANSWER)
    assert score["low"] < score["macro_f1"] <= score["high"] <= 1
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 500)
    answers = np.where(rng.random(500) < 0.8, truth, 1 - truth)
    wide, narrow = (detection.score_with_interval(truth[:n], answers[:n]) for n in (50, 500))
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


@pytest.mark.parametrize(("rows", "rare"), [(100, 5), (24, 12), (100, 50)])
def test_no_error_in_few_rows_is_no_certainty(rows, rare):
    """The interval ends where all errors that so many rows leave possible are in the class that they hurt most."""
    truth = (np.arange(rows) < rare).astype(int)
    share, score = intervals.unseen_share(rows), detection.score_with_interval(truth, truth)

    def with_errors(count: int) -> float:
        missed, added = truth.copy(), truth.copy()
        missed[:count], added[rare : rare + count] = 0, 1
        return min(detection.macro_f1(truth, missed), detection.macro_f1(truth, added))

    assert score["macro_f1"] == score["high"] == 1 and score["low"] < 1 - share
    assert with_errors(int(share * rows) + 1) < score["low"] < with_errors(int(share * rows))
    wrong = detection.score_with_interval(truth, 1 - truth)
    assert wrong["low"] == 0 < wrong["high"] < 0.5
    assert detection.score_with_interval(truth, truth, 300, np.arange(rows) // 2)["low"] < score["low"]


def test_groups_without_an_error_have_an_interval_too(task):
    truth = np.arange(40) % 2
    table = detection.group_table(truth, truth, ["a"] * 24 + ["b"] * 16, task).set_index("group")
    assert (table.macro_f1_high == 1).all() and table.macro_f1_low["b"] < table.macro_f1_low["a"] < 0.9


def test_differences_are_paired():
    same = detection.paired_difference(TRUTH, ANSWER, ANSWER, 50)
    assert same["difference"] == 0 and -1 < same["low"] == -same["high"] < 0  # other rows may part them
    gain = detection.paired_difference(TRUTH, TRUTH, ANSWER)
    assert gain["low"] >= 0 and gain["difference"] == pytest.approx(0.25)  # better or equal in every draw


def test_by_group_counts_rates_and_worst_first(task):
    groups = ["a", "a", "a", "a", "b", "b", "b", ""]
    table = detection.group_table(TRUTH, ANSWER, groups, task).set_index("group")
    assert table.index[0] == "b" and table["count"].to_dict() == {"a": 4, "b": 3, "(none)": 1}
    assert table.loc["a", "false_positive_rate"] == pytest.approx(1 / 3)
    assert table.loc["b", "false_negative_rate"] == pytest.approx(1 / 3)
    assert np.isnan(table.loc["b", "false_positive_rate"])  # no negative row: no rate
    assert table.loc["a", "accuracy_low"] < 0.75 < table.loc["a", "accuracy_high"]
    assert np.isnan(table.loc[["b", "(none)"], ["macro_f1", "macro_f1_low"]].to_numpy()).all()  # of one class
    assert table.too_few.all() and list(table.reset_index().columns) == detection.GROUP_COLUMNS


def test_small_groups_stand_last_and_are_marked(task):
    table = detection.group_table(TRUTH, ANSWER, ["a"] * 4 + ["b"] * 3 + ["c"], task, smallest=4, draws=20)
    assert table.group.tolist() == ["a", "b", "c"] and table.too_few.tolist() == [False, True, True]


def test_equalized_odds_need_rows_of_either_kind(task):
    rng = np.random.default_rng(0)
    truth = np.array([0] * 40 + [1] * 40 + [1] * 40 + [0] * 6 + [0] * 40 + [1] * 40)
    groups = np.array(["even"] * 80 + ["few negatives"] * 46 + ["failed"] * 80)
    answer = truth.copy()
    answer[120:126] = 1  # all six negatives are wrong
    answer[126:166] = rng.random(40) < 0.6
    row = detection.equalized_odds(truth, answer, {"who": groups, "all": ["x"] * len(truth)}, task).iloc[0]
    assert row.group_column == "who" and row.groups_compared == 2 and row.rate == "false_positive_rate"
    assert (row.highest, row.lowest) == ("failed", "even") and row.difference == pytest.approx(answer[126:166].mean())
    assert 0 < row.low < row.difference < row.high
    assert detection.equalized_odds(truth, answer, {"who": groups}, task, smallest=41).empty


def test_rows_of_one_text_widen_the_interval(task):
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 60), 5)
    answer = np.where(np.repeat(rng.random(60) < 0.8, 5), truth, 1 - truth)
    rows = [{"id": str(i), "parent_id": f"p{i // 5}"} for i in range(300)]
    clusters = detection.sources(rows)
    apart, together = (detection.score_with_interval(truth, answer, 300, c) for c in (None, clusters))
    assert together["high"] - together["low"] > 1.6 * (apart["high"] - apart["low"])
    tables = [detection.group_table(truth, answer, ["g"] * 300, task, clusters=c).iloc[0] for c in (None, clusters)]
    assert tables[1].accuracy_low < tables[0].accuracy_low and tables[1].macro_f1_low < tables[0].macro_f1_low
    assert detection.sources([{"id": "a"}, {"id": "b", "parent_id": "a"}]) == ["a", "a"]


def test_leads_over_every_other_model(task):
    table = detection.leads({"ours": TRUTH, "same": TRUTH, "other": ANSWER}, TRUTH, 50).set_index("against")
    same, reach = table.loc["same"], table.loc["same", "high"]
    assert same.tolist() == [0, -reach, reach] and reach > 0  # eight rows show no difference, others may
    assert table.loc["other", "difference"] == pytest.approx(0.25)


def test_calibration_error_of_known_confidence():
    probabilities = np.tile([0.2, 0.8], (10, 1))
    table, error = detection.calibration(np.array([1] * 6 + [0] * 4), probabilities)
    assert len(table) == 1 and table["count"].sum() == 10 and error == pytest.approx(0.2)


def test_calibration_is_set_against_chance():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 2000)
    probabilities = np.column_stack([1 - confidence, confidence])
    honest = detection.calibration_summary((rng.random(2000) < confidence).astype(int), probabilities)
    boastful = detection.calibration_summary((rng.random(2000) < 0.7 * confidence).astype(int), probabilities)
    assert honest["calibration_error"] < honest["by_chance"] < 0.06 < boastful["calibration_error"]
    assert boastful["accuracy"] < boastful["mean_confidence"] == pytest.approx(0.75, abs=0.01)
    truth = (rng.random(2000) < confidence).astype(int)
    error = detection.calibration(truth, probabilities)[1]
    assert detection.calibration_summary(truth, probabilities)["calibration_error"] == pytest.approx(error)


def test_models_are_compared_on_the_same_rows(task):
    table = detection.compare_models({"exact": TRUTH, "other": ANSWER}, TRUTH, task, 50).set_index("model")
    assert table.loc["exact", ["macro_f1", "high", "f1_bad", "accuracy"]].tolist() == [1] * 4
    assert table.loc["other", "f1_bad"] == pytest.approx(0.75) and table["count"].tolist() == [8, 8]


def test_predictions_are_listed_row_by_row(task):
    rows = [{"id": "1", "text": "a", "label": "good", "group": "x"}, {"id": "2", "text": "b", "label": "bad"}]
    table = detection.prediction_table(rows, np.array([[0.9, 0.1], [0.6, 0.4]]), task)
    assert table.to_dict("list") == {
        "id": ["1", "2"], "text": ["a", "b"], "label": ["good", "bad"], "answer": ["good", "good"], "confidence": [0.9, 0.6],
    }  # fmt: skip


def test_the_worst_pairs_are_the_commonest_wrong_answers():
    counts = np.array([[5, 1, 0], [4, 9, 2], [0, 0, 7]])
    pairs = detection.worst_pairs(counts, ["a", "b", "c"])
    assert pairs.to_dict("split")["data"] == [["b", "a", 4], ["b", "c", 2], ["a", "b", 1]]
    assert detection.worst_pairs(np.diag([3, 4]), ["a", "b"]).empty


def seconds(function) -> float:
    """Processor time of the quickest of three calls."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def test_many_classes_cost_little_more_than_two():
    draws = {n: np.random.default_rng(0).integers(0, n, (2, 5000)) for n in (2, 200)}
    few, many = (seconds(lambda d=d: detection.score_with_interval(*d, 300)) for d in draws.values())
    assert many < 30 * few  # class by class it took 200 passes over every draw
    counts = confusion_matrix(*draws[200], labels=range(200))
    pairs = lambda: detection.worst_pairs(counts, [str(i) for i in range(200)])  # noqa: E731
    assert len(pairs()) == 30
    assert seconds(pairs) < 30 * max(few, 0.01)


def test_predictions_carry_the_ids_of_the_data():
    rows = [{"id": "1", "own_id": "k1", "text": "a", "label": "no"}, {"id": "2", "text": "b", "label": "yes"}]
    task = Task("t", ("no", "yes"), "yes", ("n", "y"), "{text}")
    table = detection.prediction_table(rows, np.array([[0.9, 0.1], [0.4, 0.6]]), task)
    assert table.columns.tolist()[:3] == ["id", "own_id", "text"] and table.own_id[0] == "k1"
    rows[0]["own_ids"] = ["k1", "k7"]
    joined = with_every_own_id(table, rows)
    assert joined.own_id.tolist() == ["k1", "k7", ""] and joined.answer.tolist() == ["no", "no", "yes"]
    assert joined.columns.tolist() == table.columns.tolist()


def test_labels_without_a_training_row_are_named():
    task = Task("t", ("a", "b", "c"), "c", ("a", "b", "c"), "{text}")
    rows = [{"label": "a"}, {"label": "b"}]
    assert detection.untrained(rows, task).startswith("No training row has the label 'c': ")
    assert detection.untrained([*rows, {"label": "c"}], task) == ""
