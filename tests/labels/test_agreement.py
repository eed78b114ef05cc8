"""Agreement against the reference implementations, against known data, and on real annotators."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.data import tables
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.evaluation import baselines, plots
from helpers.labels import agreement, decisions, exchange, log
from helpers.text import clean
from tests.project import SHARED

SBIC = SHARED / "sbic" / "SBIC.v2.dev.csv"
OFFENSIVE = ["no", "maybe", "yes"]


def state(**answers):
    """The state that `log.annotations` returns, from annotator=[label or None, ...] over records r0, r1, …"""
    rows = [
        {"time": float(i), "event": "label", "id": f"r{i}", "annotator": name, "label": label}
        for name, labels in answers.items()
        for i, label in enumerate(labels)
        if label is not None
    ]
    return log.annotations(rows)


def table(**answers):
    return agreement.table(state(**answers))


# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C: four observers, twelve units.
PUBLISHED = {
    "a": [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    "b": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    "c": [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    "d": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
}


def test_alpha_of_the_published_example():
    answers = table(**{name: [x and str(x) for x in labels] for name, labels in PUBLISHED.items()})
    nominal, ordinal = agreement.alpha(answers), agreement.alpha(answers, list("12345"))
    assert round(nominal["value"], 3) == 0.743 and round(ordinal["value"], 3) == 0.815
    assert nominal["n"] == 11 and nominal["low"] < 0.743 < nominal["high"] and not nominal["reason"]


def test_as_many_classes_as_labels_take_no_more_than_a_table_of_them():
    """A matrix of classes for every record would have 67 GiB."""
    answers = pd.DataFrame({name: [f"{name}{i}" for i in range(1000)] for name in "abc"}, dtype=object)
    tracemalloc.start()
    result = agreement.alpha(answers, draws=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result["value"] == pytest.approx(0, abs=0.01) and result["n"] == 1000 and peak < 2**29
    ordered = agreement.alpha(answers, sorted(answers.stack()), draws=20)
    assert -1 < ordered["value"] < 1 and ordered["low"] < ordered["high"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*"abcd", None]), min_size=4, max_size=4), min_size=2, max_size=30))
def test_alpha_and_kappa_are_those_of_the_reference_packages(rows):
    import krippendorff
    from sklearn.metrics import cohen_kappa_score

    answers = pd.DataFrame(rows, columns=list("wxyz"), dtype=object)
    numbers, _ = agreement.counts(answers, list("abcd"))
    for level in ("nominal", "ordinal"):
        ours = agreement.alpha(answers, list("abcd") if level == "ordinal" else None, draws=1)
        shared = numbers[numbers.sum(1) >= 2]
        if not len(shared) or (shared.sum(0) > 0).sum() < 2:
            assert np.isnan(ours["value"]) and ours["reason"]
            continue
        theirs = krippendorff.alpha(value_counts=numbers, value_domain=range(4), level_of_measurement=level)
        assert ours["value"] == pytest.approx(theirs, abs=1e-9)
    for pair in agreement.kappas(answers).to_dict("records"):
        both = answers[[pair["a"], pair["b"]]].dropna()
        assert pair["n"] == len(both) and bool(pair["reason"]) == np.isnan(pair["kappa"])
        if not pair["reason"]:
            assert pair["kappa"] == pytest.approx(cohen_kappa_score(both[pair["a"]], both[pair["b"]]), abs=1e-9)
        else:
            assert len(set(both.to_numpy().ravel())) < 2


def test_the_bootstrap_is_that_of_drawing_records_one_by_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 150)
    noisy = [["no", "yes"][t ^ (rng.random() < 0.15)] for _ in range(3) for t in truth]
    answers = pd.DataFrame(np.array(noisy, dtype=object).reshape(3, -1).T, columns=list("abc"))
    ours = agreement.alpha(answers, draws=4000)
    drawn = [agreement.alpha(answers.iloc[rng.integers(0, 150, 150)], draws=1)["value"] for _ in range(600)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert ours["low"] == pytest.approx(low, abs=0.03) and ours["high"] == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"a": [None]}, "no labels"),
        ({"a": ["x", "y"]}, "only one annotator"),
        ({"a": ["x", None], "b": [None, "y"]}, "no record was labelled by two annotators"),
        ({"a": ["x", "x", "y"], "b": ["x", "x", None]}, "every shared label is 'x'"),
        ({"a": ["x", "y"] * 4, "b": ["y", "y"] * 4}, "fewer than 10 shared records: no interval"),
    ],
)
def test_what_is_undefined_has_a_reason(answers, reason):
    result = agreement.alpha(table(**answers))
    assert reason in result["reason"] and np.isnan(result["low"])
    rows = agreement.summary(state(**answers))
    assert rows[rows["value"].isna()]["reason"].str.len().gt(0).all()


def test_the_matrix_and_its_reasons():
    pairs = agreement.kappas(table(a=["x", "y", "x", None], b=["x", "y", "y", "y"], c=[None, None, "y", "y"]))
    kappa, shared = agreement.matrix(pairs), agreement.matrix(pairs, "n")
    assert kappa.at["a", "b"] == kappa.at["b", "a"] == pytest.approx(0.4) and np.isnan(kappa.at["a", "a"])
    assert shared.at["a", "c"] == 1 and shared.at["b", "c"] == 2
    assert pairs.set_index(["a", "b"]).loc[("b", "c"), "reason"] == "every shared label is the same one"
    drawn = {cell.get_text() for cell in plots.agreement(kappa, shared).axes[0].texts}
    assert drawn == {"0.40\nn = 3", "0.00\nn = 1", "–\nn = 2"}  # every pair once


def test_self_consistency_on_repeats():
    rows = [("r0", "x", "x"), ("r1", "y", "x"), ("r2", "y", "y"), ("r3", "x", "x")]
    events = []
    for i, (record, first, again) in enumerate(rows):
        row = {"time": float(i), "event": "label", "id": record, "annotator": "ann"}
        events += [row | {"label": first}, row | {"label": again, "repeat": True}]
    row = agreement.self_consistency(log.annotations(events)).iloc[0]
    assert (row["annotator"], row["share"], row["n"]) == ("ann", 0.75, 4)
    assert row["kappa"] == pytest.approx(0.5)


def test_an_order_without_one_of_the_labels():
    with pytest.raises(UserError, match="'x' is not in the order given"):
        agreement.alpha(table(a=["x"], b=["x"]), ["low", "high"])


def test_disagreements_are_true_ones_most_contested_first_without_the_settled():
    rows = [("a", "x", "x", "x", "y", "x"), ("b", "y", "x", "x", "y", "y"), ("c", "x", None, "x", "z", "y")]
    events = [
        {"time": 1.0, "event": "label", "id": f"r{i}", "annotator": name, "label": label}
        for name, *labels in rows
        for i, label in enumerate(labels)
        if label
    ]
    events += [{"time": 2.0, "event": kind, "id": "r1", "annotator": "c"} for kind in ("skip", "flag")]
    events += [{"time": 2.0, "event": "note", "id": "r0", "annotator": "b", "text": "§ 3"}]
    events += [{"time": 3.0, "event": "label", "id": "r4", "annotator": log.ADJUDICATOR, "label": "y"}]
    events += [{"time": 3.0, "event": "label", "id": "r5", "annotator": n, "label": n} for n in ("a", "b", "c")]
    contested = decisions.disagreements(log.annotations(events), [{"id": "r0", "text": "Testo"}])
    assert [row["id"] for row in contested] == ["r5", "r0", "r3"]
    assert contested[1]["labels"] == {"a": "x", "b": "y", "c": "x"}
    assert contested[1]["notes"] == {"b": "§ 3"} and contested[1]["text"] == "Testo"


def test_summary_shows_the_group_on_which_annotators_differ():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 200)
    records = [{"id": f"r{i}", "text": "t", "form": "ab"[i % 2]} for i in range(200)]
    labels = [[["no", "yes"][t ^ (i % 2 and rng.random() < 0.4)] for i, t in enumerate(truth)] for _ in range(3)]
    both = state(**dict(zip("xyz", labels, strict=True)))
    rows = agreement.summary(both, records, ["form"]).set_index(["measure", "subset"])
    assert rows.loc[("alpha", "form=a"), "value"] == 1 and rows.loc[("alpha", "form=b"), "high"] < 0.5
    assert rows.loc[("records that differ", "form=a"), "value"] == 0
    differ = rows.loc[("records that differ", "form=b")]
    assert 0.4 < differ["low"] < differ["value"] < differ["high"] and differ["n"] == 100
    assert ("alpha", "label=yes") in rows.index and ("kappa", "x – y") in rows.index


def test_decisions_of_a_majority_a_tie_and_the_adjudicator():
    annotations = state(a=["x", "x", "y", "x", None], b=["x", "y", None, "y", None], c=["y", None, None, "z", None])
    annotations[log.ADJUDICATOR] = state(z=[None, None, None, "z", None])["z"]
    annotations["a"]["r4"] = annotations["a"]["r0"] | {"label": None, "skipped": True}
    decided = decisions.decisions(annotations)
    assert [(one["label"], one["decided"], one["votes"]) for one in decided.values()] == [
        ("x", "majority", 2),
        (None, "tie", 1),
        ("y", "only one", 1),
        ("z", "adjudicator", 1),
        (None, "", 0),
    ]
    assert decided["r3"]["labels"] == {"a": "x", "b": "y", "c": "z"}


@pytest.fixture(scope="module")
def crowd():
    """300 records with a known truth; two careful annotators and three who guess every other time."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 300)
    careful = {"ann": 0.95, "bob": 0.95, "cy": 0.5, "dee": 0.5, "eve": 0.5}
    answers = {n: ["xyz"[t if rng.random() < p else rng.integers(0, 3)] for t in truth] for n, p in careful.items()}
    return state(**answers), np.array(list("xyz"), dtype=object)[truth], truth


def test_dawid_skene_finds_whom_to_trust(crowd):
    annotations, truth, _ = crowd
    answers = agreement.table(annotations)
    probabilities = decisions.dawid_skene(answers)
    assert probabilities.sum(1).to_numpy() == pytest.approx(1) and list(probabilities.index) == list(answers.index)
    joint = (probabilities.idxmax(axis=1).to_numpy() == truth).mean()
    decided = decisions.decisions(annotations)
    voted = np.mean([decided[record]["label"] == t for record, t in zip(answers.index, truth, strict=True)])
    assert joint > voted + 0.02 and joint > 0.93


class KnowsTheTruth:
    """A learner that gives the true class of a text 0.9; of a text without one it knows nothing."""

    def __init__(self, truth):
        self.truth = truth

    def fit(self, records):
        pass

    def predict_proba(self, texts):
        probabilities = [[0.9 if label == self.truth.get(text) else 0.05 for label in "xyz"] for text in texts]
        return np.array([row if max(row) > 0.5 else [0.34, 0.33, 0.33] for row in probabilities])


def test_activelab_asks_again_where_annotators_contradict_the_model_and_each_other(crowd, capsys):
    annotations, truth, _ = crowd
    annotations = annotations | {"fay": {"r0": annotations["ann"]["r0"]}}  # so that nobody but r0 has everybody's label
    texts = {f"text {i}": label for i, label in enumerate(truth)} | {"sure": "x"}
    pool = [{"id": f"r{i}", "text": f"text {i}"} for i in range(len(truth))]
    pool += [{"id": text, "text": text} for text in ("sure", "unsure")]
    worth = decisions.worth_labelling(annotations, [], pool, list("xyz"), KnowsTheTruth(texts)).set_index("text")
    answers = agreement.table(annotations).iloc[1:]
    agreed = (answers.nunique(axis=1) == 1).to_numpy()
    again = worth["score"].loc[[f"text {i[1:]}" for i in answers.index]].to_numpy()
    assert again[agreed].mean() > again[~agreed].mean()
    assert worth.loc["unsure", "score"] < worth.loc["sure", "score"] and "text 0" not in worth.index
    assert not capsys.readouterr().out


def test_the_text_that_is_probably_mislabelled_is_worth_another_label(task, rows):
    """Three people label 48 texts, most of them one person each; ann is wrong on one of hers."""
    labels: dict[str, dict[str, str]] = {"ann": {}, "bob": {}, "cy": {}}
    for i, row in enumerate(rows[:48]):
        for name in labels if i < 12 else [list(labels)[i % 3]]:
            labels[name][row["id"]] = row["label"]
    wrong = rows[21]["id"]
    labels["ann"][wrong] = "good" if labels["ann"][wrong] == "bad" else "bad"
    labels["bob"][rows[13]["id"]] = "gone"  # a class that was removed
    events = [
        {"time": 1.0, "event": "label", "id": i, "annotator": name, "label": label}
        for name, own in labels.items()
        for i, label in own.items()
    ]
    annotations, learner = log.annotations(events), baselines.tfidf(task)
    worth = decisions.worth_labelling(annotations, rows[100:], rows[:100], ["good", "bad"], learner)
    again = worth[worth["label"] == "again"]
    assert again.iloc[0]["text"] == rows[21]["text"] and again.iloc[0]["so_far"].startswith("ann: ")
    assert len(again) == 35 and len(worth) == 35 + 52 + 1 and worth["score"].is_monotonic_increasing
    assert not set(worth["text"]) & {r["text"] for r in rows[:12]}  # everybody labelled them
    assert decisions.worth_labelling({}, rows[100:], rows[:9], ["good", "bad"], learner).empty


def test_real_annotators_of_sbic(tmp_path):
    """198 people on the posts of the dev split. The paper reports α = 0.51 for offensiveness over all three splits."""
    if not SBIC.exists():
        pytest.skip("the SBIC annotations are not beside the repository (../shared/data/sbic)")
    rows = tables.read_table(str(SBIC), "post")
    texts = {record_id("sbic", clean(text)): text for text in rows["post"].unique()}
    records = [{"id": i, "text": text} for i, text in texts.items()]
    report = exchange.import_labels(
        SBIC,
        tmp_path,
        records,
        "sbic",
        "offensiveYN",
        "post",
        annotator_column="WorkerId",
        task_labels=OFFENSIVE,
        mapping={"0.0": "no", "0.5": "maybe", "1.0": "yes"},
    )
    assert report["rows"] == len(rows) == 16738 and not report["unmatched"] and not report["not_in_task"]
    assert report["taken"] + len(report["empty"] + report["duplicates"] + report["conflicts"]) == 16738
    annotations = log.annotations(tmp_path)
    answers = agreement.table(annotations)
    nominal, ordinal = agreement.alpha(answers), agreement.alpha(answers, OFFENSIVE)
    assert 0.48 < nominal["value"] < 0.62 and nominal["high"] - nominal["low"] < 0.06 and nominal["n"] > 4000
    assert ordinal["value"] > nominal["value"]  # "maybe" lies between: most differences are by one step
    # The adjudication list against the raw file, counted without the store.
    rows = rows[rows["offensiveYN"] != ""].assign(id=lambda t: [record_id("sbic", clean(x)) for x in t["post"]])
    by_person = rows.groupby(["id", "WorkerId"])["offensiveYN"].first()
    differ = by_person.groupby("id").nunique()
    queue = decisions.disagreements(annotations, records)
    assert {row["id"] for row in queue} == set(differ[differ > 1].index) and len(queue) > 1000
    assert all(len(set(row["labels"].values())) > 1 and row["text"] == texts[row["id"]] for row in queue)


def test_who_labelled_names_nobody_and_a_person_counts_before_a_machine():
    def state(*ids):
        return {i: {"label": "a"} for i in ids}

    first = {"anna": state("1", "2") | {"9": {"label": None}}, "oracle": state("2", "3")}
    who, people = decisions.labellers([first, {"teacher": state("4"), "bruno": {"5": {"label": None}}}])
    assert who == {"1": "person", "2": "person", "3": "oracle", "4": "teacher"} and people == 1
