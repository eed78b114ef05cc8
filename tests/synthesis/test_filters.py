"""Filters reject what they should and nothing else; judges do not judge what they saw; people have the last word."""

import json
from functools import partial

import numpy as np
import pytest

from helpers.env import UserError
from helpers.evaluation import baselines
from helpers.labels import log
from helpers.labels.exchange import settled_labels
from helpers.labels.panel import Panel
from helpers.labels.seats import pending
from helpers.synthesis import brief, endpoint, filters
from helpers.task import Task
from tests.endpoints import Proxy, completion

TASK = Task("italian_jobs", ("inclusive", "not_inclusive"), "not_inclusive", ("a", "b"), "{text}", ("sector",))
LONG = "cerchiamo una persona con esperienza nella vendita di scarpe e borse per il negozio di Parma centro"
OTHER = "tutt'altro testo, sul forno del paese e sul suo pane"


def record(text, label="not_inclusive", **more):
    return {"id": text, "text": text, "label": label, "sector": "x", "method": "swap", "writer": "rules", **more}


def spread(texts):
    """One-dimensional losses: the number of words."""
    return np.array([len(t.split()) for t in texts], float)


fluent = partial(filters.fluent, nll=spread, known=[record("uno due tre"), record("uno due tre quattro")], tail=0.0)


@pytest.mark.parametrize(
    ("keep", "good", "bad"),
    [
        (filters.well_formed, LONG, "12 34 56 78 90 12 34 56 78 90"),
        (
            partial(filters.in_language, language="it"),
            LONG,
            "we are looking for a person to sell shoes in the middle of the town",
        ),
        (partial(filters.not_exact_duplicates, known=[record("già visto")]), LONG, "Già  visto!"),
        (partial(filters.not_near_duplicates, known=[record(LONG, id="other")], threshold=0.7), OTHER, LONG + " oggi"),
        (partial(filters.no_leaks, evaluation=[record(LONG)]), OTHER, LONG + " oggi"),
        (
            fluent,
            "a b c",
            "a b c d e",
        ),
        (
            fluent,
            "a b c d",
            "a a",
        ),
    ],
)
def test_every_filter_rejects_what_it_should(keep, good, bad):
    assert keep([record(good), record(bad, id="bad")]).tolist() == [True, False]


def test_a_row_may_resemble_its_own_parent_but_no_earlier_candidate():
    keep = partial(filters.not_near_duplicates, known=[record(LONG, id="parent")], threshold=0.7)
    child = record(LONG + " oggi", id="child", parent_id="parent")
    assert keep([child]).all()
    assert keep([record(OTHER), record(OTHER + " oggi", id="again", parent_id="parent")]).tolist() == [True, False]


def test_meaning_is_compared_by_direction_and_a_rejected_row_blocks_no_other():
    at = {"known": (1, 0), "same": (5, 0.1), "new": (0, 1), "near new": (0.1, 2), "child": (3, 0), "far": (1, 1)}
    embed = lambda texts: np.array([at[t] for t in texts])  # noqa: E731
    rows = [record("same"), record("new"), record("near new"), record("child", parent_id="known"), record("far")]
    mask = filters.not_semantic_duplicates(rows, [record("known")], embed, 0.95)
    assert mask.tolist() == [False, True, False, True, True]


def test_few_rows_speak_for_one_parent_and_methods_take_turns():
    rows = [record(str(i), method=m, parent_id="p") for i, m in enumerate(["swap", "swap", "schwa", "schwa"])]
    rows += [record("free"), record("other", parent_id="q")]
    assert filters.at_most_per_parent(rows, 2).tolist() == [True, False, True, False, True, True]
    assert filters.at_most_per_parent(rows, 3).tolist() == [True, True, True, False, True, True]


# --- judges ----------------------------------------------------------------------------------------------------------


def test_each_writer_has_its_judge_and_no_answer_rejects():
    judges = {
        "rules": lambda rows: np.array([[0.9, 0.1], [0.5, 0.5], [np.nan, np.nan]])[: len(rows)],
        "teacher": lambda rows: np.array([[0.0, 1.0]] * len(rows)),
    }
    rows = [record("x"), record("t", writer="teacher"), record("y"), record("z")]
    assert filters.label_agrees(rows, judges, TASK, 0.2).tolist() == [False, True, True, False]
    with pytest.raises(KeyError):
        filters.label_agrees([record("t", writer="teacher")], {"rules": judges["rules"]}, TASK, 0.2)


def test_no_learner_judges_the_child_of_a_row_it_has_seen():
    known, seen = [record(f"riga {i}", ("inclusive", "not_inclusive")[i % 2]) for i in range(20)], []

    class Spy:
        def fit(self, rows):
            self.ids = {r["id"] for r in rows}

        def predict_proba(self, texts):
            seen.extend((self.ids, text) for text in texts)
            return np.tile([0.25, 0.75], (len(texts), 1))

    children = [record(f"figlia {r['id']}", parent_id=r["id"]) for r in known]
    out = filters.cross_fitted_judge(Spy, known, folds=5)([*children, record("sola")])
    assert out.shape == (21, 2) and (out == [0.25, 0.75]).all()
    assert len(seen) == 21 and all(text.removeprefix("figlia ") not in ids for ids, text in seen)
    assert {len(ids) for ids, _ in seen} == {16}


def test_a_cross_fitted_classifier_knows_the_words(task, rows):
    judge = filters.cross_fitted_judge(lambda: baselines.tfidf(task), rows, seed=1)
    children = [r | {"id": r["id"] + "c", "parent_id": r["id"]} for r in rows]
    assert (judge(children).argmax(1) == task.index([r["label"] for r in rows])).mean() > 0.95


def test_a_rare_class_is_in_every_fold_and_a_seed_of_one_class_judges_nothing(task, rows):
    good, bad = ([r for r in rows if r["label"] == label] for label in ("good", "bad"))
    for few in (2, 1):
        judge = filters.cross_fitted_judge(lambda: baselines.tfidf(task), [*good[:18], *bad[:few]])
        assert np.isfinite(judge([r | {"parent_id": r["id"]} for r in [*good[:18], *bad[:few]]])).all()
    with pytest.raises(UserError, match="one class only"):
        filters.cross_fitted_judge(lambda: baselines.tfidf(task), good)


def test_an_endpoint_judges_and_its_silence_is_no_consent(monkeypatch):
    for name, value in (("BASE_URL", ""), ("MODEL", "judge"), ("API_KEY", "")):
        monkeypatch.setenv(f"JUDGE_{name}", value)

    def plan(number, body):
        text = body["messages"][-1]["content"]
        if "Testo:\nmuto" in text:
            return completion("Mi dispiace, non posso aiutarti.")
        assert "- inclusive" in text and "Regola uno." in text
        return completion(json.dumps({"label": "inclusive" if "Testo:\nchi" in text else "not_inclusive"}))

    with Proxy(plan) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.url)
        judge = endpoint.Endpoint("JUDGE", retries=1)
        rows = [record("chi viene"), record("il candidato"), record("muto")]
        out = filters.endpoint_judge(rows, judge, TASK, brief.read_brief("", TASK), "Regola uno.", "it")
    assert out[:2].tolist() == [[1.0, 0.0], [0.0, 1.0]] and np.isnan(out[2]).all()
    filters.check_independent(judge, endpoint.Local(list))
    with pytest.raises(UserError, match="may not judge its own rows"):
        filters.check_independent(judge, judge)


# --- acceptance and people -------------------------------------------------------------------------------------------


def test_acceptance_counts_what_reaches_each_filter_by_method():
    steps = {"first": lambda c: np.array([True, False, True]), "second": lambda c: np.array([False, True])}
    rows = [record("x"), record("y"), record("z", method="few_shot")]
    accepted, table = filters.apply_filters(rows, steps)
    assert [r["id"] for r in accepted] == ["z"]
    assert table[["filter", "method", "candidates", "accepted"]].values.tolist() == [
        ["first", "swap", 2, 1], ["first", "few_shot", 1, 1], ["second", "swap", 1, 0], ["second", "few_shot", 1, 1],
    ]  # fmt: skip
    assert table.acceptance.tolist() == [0.5, 1.0, 0.0, 1.0] and (table.low <= table.acceptance).all()
    whole = filters.overall(rows, accepted)
    assert whole[["method", "candidates", "accepted"]].values.tolist() == [["swap", 2, 0], ["few_shot", 1, 1]]
    assert filters.apply_filters([], steps)[0] == []


def test_a_review_rejects_mends_and_keeps():
    rows = [record("uno"), record("due"), record("tre")]
    verdicts = {"uno": "", "due": " due meglio "}
    reviewed = filters.apply_review(rows, verdicts, "italian_jobs")
    assert [r["text"] for r in reviewed] == ["tre", "due meglio"]
    assert reviewed[1]["id"] != "due" and reviewed[1]["label"] == "not_inclusive"
    known = [record("Due meglio")]  # the seed row it was made from, say
    check = partial(filters.not_exact_duplicates, known=known)
    assert filters.apply_review(rows, verdicts, "italian_jobs", [check]) == [rows[2]]
    line = filters.describe_review(rows, {"uno": "", "due": "due meglio"})
    assert line.startswith("2 of 3 rows reviewed: 1 accepted (50%, 95 % interval 9%–91%), 1 of them edited, 1 rejected")


def test_a_verdict_holds_for_the_label_that_the_reviewer_saw(tmp_path):
    rows = [record(text) for text in ("uno", "due", "tre")]
    ids = [row["id"] for row in rows]

    def panel(rows):
        shown = [{"id": r["id"], "text": r["text"], "proposal": r["text"], "proposed": r["label"]} for r in rows]
        return Panel(shown, kind="edit", folder=tmp_path, annotator="me")

    log.append(tmp_path, "me", "label", ids[2], label="tre")  # imported, or of an older run: it says no label
    first = panel(rows)
    first.buttons["accept"].click()
    first.buttons["reject"].click()
    reviews = filters.reviews_of(tmp_path, rows)
    assert pending(reviews, {"me": ids}) == {"me": []}
    assert filters.apply_review(rows, settled_labels(reviews), "italian_jobs") == [rows[0], rows[2]]
    others = [row | {"label": "inclusive"} for row in rows]
    reviews = filters.reviews_of(tmp_path, others)
    assert pending(reviews, {"me": ids}) == {"me": ids[:2]} and settled_labels(reviews) == {ids[2]: "tre"}
    again = panel(others)
    assert again.session.open == 2
    again.buttons["reject"].click()
    assert settled_labels(filters.reviews_of(tmp_path, others)) == {ids[0]: "", ids[2]: "tre"}
    assert settled_labels(filters.reviews_of(tmp_path, rows)) == {ids[0]: "uno", ids[1]: "", ids[2]: "tre"}


def test_the_sample_for_review_is_drawn_by_seed():
    rows = [record(str(i)) for i in range(50)]
    draw = filters.sample_records
    assert draw(rows, 10, 1) == draw(rows, 10, 1) != draw(rows, 10, 2)
    assert filters.sample_records(rows, 80, 1) == rows and filters.sample_records(rows, 0, 1) == []
