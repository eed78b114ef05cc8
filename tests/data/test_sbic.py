"""The Social Bias Inference Corpus from its official files, and what is none of them."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.cli.given import check_data, gather_parameters, stage_parameters
from helpers.data import sbic, tables
from helpers.data.records import link_parents
from helpers.env import UserError
from helpers.evaluation.written_groups import read_groups
from tests.project import SHARED

AGGREGATED, RAW = SHARED / "sbic/SBIC.v2.agg.dev.csv", SHARED / "sbic/SBIC.v2.dev.csv"
POSTS = [  # offensiveYN, groups, categories, stereotypes, hasBiasedImplication as the release has it
    (0.0, [], [], [], 1),
    (0.25, [], [], [], 1),
    (0.5, ["women"], ["gender"], ["cannot drive"], 0),
    (0.75, [], [], [], 1),
    (1.0, ["women", "black folks"], ["gender", "race"], ["are loud", "are late"], 0),
]


def aggregated(change=None):
    names = ["offensiveYN", "targetMinority", "targetCategory", "targetStereotype", "hasBiasedImplication"]
    rows = [dict(zip(names, map(json.dumps, post), strict=True)) for post in POSTS]
    table = pd.DataFrame(rows).assign(post=[f"post {i}" for i in range(len(rows))], dataSource="t/x")
    table.index += 2
    return change(table) if change else table


def raw_rows(*answers):
    """Rows of (worker, post, offensiveYN, group, stereotype)."""
    names = ["WorkerId", "post", "offensiveYN", "targetMinority", "targetStereotype"]
    return pd.DataFrame(answers, columns=names).assign(targetCategory="", dataSource="t/x")


def test_answers_of_an_aggregated_file():
    asked = sbic.ask(aggregated(), "offensive", "f.csv")
    assert list(asked.label) == ["not offensive", "maybe", "maybe", "maybe", "offensive"]
    assert (
        list(asked.category) == ["none", "none", "gender", "none", "several"]
        and asked.groups[6] == "women; black folks"
    )
    asked = sbic.ask(aggregated(), "implied_bias", "f.csv")
    assert list(asked.label == "implied bias") == [False, False, True, False, True]  # against the column's name
    assert not any(asked.annotations) and asked.attrs["remarks"] == [
        "hasBiasedImplication is 1 where no stereotype was named, against its name: the stereotypes count."
    ]
    mended = aggregated(lambda table: table.assign(hasBiasedImplication=1 - table.hasBiasedImplication.astype(int)))
    assert sbic.ask(mended, "implied_bias", "f.csv").label.equals(asked.label)  # as a release of the right polarity


def test_a_worker_counts_once_a_post():
    rows = [("w1", "p", "1.0", "women", "a"), ("w1", "p", "1.0", "women", "b"), ("w2", "p", "0.0", "", "")]
    rows += [("w1", "q", "", "", ""), ("w2", "r", "0.5", "", "")]
    asked = sbic.ask(raw_rows(*rows), "offensive", "f.csv").set_index("post")
    assert asked.label.to_dict() == {"p": "maybe", "q": "", "r": "maybe"}  # counted twice, w1 would make p offensive
    assert asked.annotators.to_dict() == {"p": 2, "q": 1, "r": 1} and asked.groups["p"] == "women"
    assert asked.annotations.to_dict() == {
        "p": {"w1": "offensive", "w2": "not offensive"},
        "q": {},
        "r": {"w2": "maybe"},
    }
    two = sbic.ask(raw_rows(*rows), "is_offensive", "f.csv").set_index("post")
    assert two.label.to_dict() == {"p": "offensive", "q": "", "r": "offensive"}  # from a mean of 0.5 on
    assert two.annotations["r"] == {"w2": "offensive"}
    said = "5 rows: 4 answers to 3 posts; repeats of a worker on a post dropped: 1."
    assert asked.attrs["remarks"] == [said, "1 post without an answer of any annotator: left without one."]


def test_one_model_is_asked_all_three_and_the_rows_of_a_post_stay_together():
    table = sbic.ask(aggregated(), "all", "f.csv")
    assert len(table) == 15 and list(table.question[:3]) == ["offensive", "implied_bias", "target_group"]
    last = table[table["post"].str.endswith("post 4")].set_index("question")
    assert last.target.to_dict() == {"offensive": "yes", "implied_bias": "yes", "target_group": "women; black folks"}
    assert last.post["implied_bias"].endswith("Answer yes or no.\nPost: post 4")
    given = gather_parameters("sbic", "smollm2", {"data_path": "f.csv"})
    records = tables.to_records(table, given | stage_parameters("01_seed_curation", given))
    parents = link_parents(records, np.arange(15))
    assert len(set(parents)) == 5 and all(
        len({p for r, p in zip(records, parents, strict=True) if f"post {i}" in r["text"]}) == 1 for i in range(5)
    )
    assert records[0]["target"] == "no" and {r["references"][0] for r in records} >= {
        "yes",
        "maybe",
        "no",
        "none",
        "women",
    }


def test_an_empty_cell_is_empty_however_a_format_writes_it():
    rows = raw_rows(("w1", "p", "1.0", "", ""), ("w1", "q", "1.0", "women", "a"))
    expected = sbic.ask(rows, "implied_bias", "f.csv")
    assert list(expected.label) == ["no implied bias", "implied bias"]
    for empty in (None, float("nan")):
        found = sbic.ask(rows.astype(object).replace("", empty), "implied_bias", "f.parquet")
        assert found.equals(expected), empty
    table = aggregated()
    table.loc[2, "hasBiasedImplication"] = ""  # says neither the one nor the other
    assert len(sbic.ask(table, "implied_bias", "f.csv")) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.drop(columns="targetStereotype"),
            "f.csv has no column 'targetStereotype': it is no file of the Social",
        ),
        (lambda t: t.drop(columns="hasBiasedImplication"), "has neither 'WorkerId' .* nor 'hasBiasedImplication'"),
        (lambda t: t.assign(offensiveYN="often"), "row 2: offensiveYN is 'often', which is no number from 0 to 1"),
        (lambda t: t.assign(offensiveYN="2"), "row 2: offensiveYN is '2', which is no number from 0 to 1"),
        (lambda t: t.assign(targetMinority="women"), "row 2: 'women' is no list of texts, as an aggregated file has"),
        (lambda t: t.assign(targetStereotype="[1]"), r"row 2: '\[1\]' is no list of texts"),
        (lambda t: t.assign(post=[["a"]] * len(t)), "row 2: the post is list, not a text"),
        (lambda t: t.assign(hasBiasedImplication="0"), "2 rows as its name says and 3 the other way round"),
    ],
)
def test_what_is_no_official_file_is_a_sentence(change, words):
    if "2 rows as" in words:
        words = "hasBiasedImplication has 3 rows as its name says and 2 the other way round"
    with pytest.raises(UserError, match=words):
        sbic.ask(aggregated(change), "implied_bias", "f.csv")


@pytest.mark.skipif(not RAW.exists(), reason="the corpus is not beside the repository (../shared/data/sbic)")
@pytest.mark.parametrize("question", ["offensive", "is_offensive", "implied_bias", "target_group"])
def test_both_official_files_give_the_same_answers(question):
    asked = {}
    for path in (AGGREGATED, RAW):
        table = tables.read_table(str(path), "post")
        asked[path] = sbic.ask(table, question, str(path)).set_index("post")
    aggregate, raw = asked.values()
    answer = "target" if question == "target_group" else "label"
    assert len(aggregate) == 4666 and len(raw) == 4673 and (raw[answer] == "").sum() == 7
    assert "repeats of a worker on a post dropped: 4,172" in raw.attrs["remarks"][0]
    both = aggregate.join(raw, rsuffix="_raw", how="inner")
    assert len(both) == 4666
    if question == "target_group":  # the lists of a file are in its own order
        assert all(read_groups(a) == read_groups(b) for a, b in zip(both.target, both.target_raw, strict=True))
        assert (both.target == "none").sum() > 2000 and both.target.str.contains("; ").sum() > 100
    else:
        assert (both.label == both.label_raw).mean() > 0.998  # repeats moved a few means
    if question == "implied_bias":
        assert (both.label == both.label_raw).all() and (both.label == "implied bias").sum() == 1806


@pytest.mark.skipif(not RAW.exists(), reason="the corpus is not beside the repository (../shared/data/sbic)")
@pytest.mark.parametrize("task", ["sbic_offensive", "sbic_implied_bias", "sbic_target_group"])
def test_the_tasks_of_the_corpus_read_it(task):
    given = gather_parameters(task, "minilm", {"data_path": str(AGGREGATED)})
    records = check_data(given | stage_parameters("01_seed_curation", given))
    assert len(records) == 4666 and {r["label"] for r in records if "label" in r} == set(given["labels"])
    assert all(r["references"] for r in records) if task == "sbic_target_group" else True
    assert all({"category", "dataSource"} <= r.keys() for r in records)
