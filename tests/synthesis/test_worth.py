"""The comparison of training sets recognises helpful, useless and harmful rows."""

import numpy as np
import pytest

from helpers.evaluation import baselines
from helpers.synthesis import worth


def synthetic(rows, flip=False):
    other = {"good": "bad", "bad": "good"}
    return [
        r | {"id": r["id"] + "s", "method": "few_shot", "label": other[r["label"]] if flip else r["label"]}
        for r in rows
    ]


@pytest.mark.parametrize(
    ("flip", "sentence"), [(False, "rows help a test model: +"), (True, "rows hurt a test model: -")]
)
def test_rows_that_help_and_rows_that_hurt(task, rows, flip, sentence):
    few = [r | {"label": "good" if i % 3 else "bad"} for i, r in enumerate(rows[:6])]  # a seed with wrong labels
    seed = few if not flip else rows[:20]
    sets = worth.training_sets(seed, synthetic(rows[20:70], flip))
    table = worth.gains(sets, rows[70:], lambda: baselines.tfidf(task), task, draws=100)
    assert sentence in worth.verdict(table, "a test model")
    assert table.gain[0] == 0 and table["training rows"].tolist() == ["seed", "seed + duplicates", "seed + synthetic"]


def test_rows_that_change_nothing_are_said_not_to_help(task, rows):
    sets = worth.training_sets(rows[:40], synthetic(rows[40:50]))
    table = worth.gains(sets, rows[70:], lambda: baselines.tfidf(task), task, draws=50)
    assert "do not help a test model: +0.000" in worth.verdict(table, "a test model")


def test_no_synthetic_row_is_said_so(task, rows):
    table = worth.gains(worth.training_sets(rows[:20], []), rows[70:], lambda: baselines.tfidf(task), task, draws=20)
    assert worth.verdict(table, "a test model") == "No synthetic row was accepted: nothing changes for a test model."


def test_methods_are_compared_one_by_one_and_duplicates_are_as_many(task, rows):
    more = synthetic(rows[10:14]) + [r | {"method": "swap"} for r in synthetic(rows[14:20])]
    sets = worth.training_sets(rows[:10], more, seed=1)
    assert {name: len(part) for name, part in sets.items()} == {
        "seed": 10, "seed + duplicates": 20, "seed + synthetic": 20, "seed + few_shot": 14, "seed + swap": 16,
    }  # fmt: skip
    assert {r["id"] for r in sets["seed + duplicates"]} == {r["id"] for r in rows[:10]}


def test_a_seed_of_one_class_is_said_to_decide_nothing(task, rows):
    seed = [r for r in rows if r["label"] == "good"][:5]
    table = worth.gains(worth.training_sets(seed, synthetic(rows[:4])), rows[70:], lambda: baselines.tfidf(task), task)
    assert np.isnan(table.gain[0]) and "one class only" in worth.verdict(table, "a test model")


def test_diversity_tells_new_rows_from_copies(rows):
    pool = [f"parola{i} e parola{i + 1} nel testo numero {i}" for i in range(40)]
    embed = worth.shared_space(pool, seed=0)
    sets = {"seed": pool[:4], "wide": pool[::2], "copies": pool[:1] * 20}
    table = worth.diversity(sets, pool, embed).set_index("set")
    assert table["pool covered"]["wide"] > table["pool covered"]["copies"]
    assert table["self-BLEU"]["copies"] == 100 > table["self-BLEU"]["wide"]
    assert table["new words"]["seed"] == 0 < table["new words"]["wide"]


def test_vocabulary_grows_with_new_words_only():
    table = worth.growth({"new": ["uno due", "tre quattro"], "same": ["uno uno", "uno uno"], "none": []})
    ends = table.groupby("set").last()
    assert ends.words.to_dict() == {"new": 4, "same": 4} and ends.vocabulary.to_dict() == {"new": 4, "same": 1}
