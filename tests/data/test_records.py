"""Records: their ids, duplicates, and splits without leaks."""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data import embedded
from helpers.data.records import (
    _trigrams,
    contradictions,
    drop_exact_duplicates,
    evaluation_sizes,
    group_shares,
    largest_batch,
    leaked_records,
    link_parents,
    named_sets,
    near_duplicate_groups,
    record_id,
    refuse_small_run,
    split_by_answer,
    split_by_group,
    whole_pool_remark,
)
from helpers.env import UserError
from helpers.text import clean


def test_a_lone_surrogate_can_be_saved():
    clean("a\ud800b").encode()


def test_one_text_many_labels_keeps_the_commonest_and_an_evaluation_row_before_a_pool_row():
    rows = [
        {"id": "1", "text": "A b", "label": label, "split": s}
        for label, s in (("x", "pool"), ("y", "pool"), ("y", "test"))
    ]
    assert drop_exact_duplicates(rows) == [{"id": "1", "text": "A b", "label": "y", "split": "test"}]
    unlabelled = {"id": "1", "text": "A b", "split": "pool"}
    assert drop_exact_duplicates([unlabelled, unlabelled, rows[0]]) == [rows[0]]


def test_duplicates_with_contradicting_labels_are_shown_and_a_tie_is_left_out():
    labels = {"a": "xxy", "b": "xy", "c": "xx", "d": ""}
    rows = [{"id": i, "text": f"text {i}", "label": one, "split": "pool"} for i, own in labels.items() for one in own]
    rows.append({"id": "d", "text": "text d", "split": "pool"})
    assert [(r["id"], r.get("label")) for r in drop_exact_duplicates(rows)] == [("a", "x"), ("c", "x"), ("d", None)]
    shown = contradictions(rows).to_dict("records")
    assert shown == [
        {"text": "text a", "labels": "x 2, y 1", "taken": "x"},
        {"text": "text b", "labels": "x 1, y 1", "taken": ""},
    ]
    assert contradictions(rows[-1:]).empty


def test_ids_ignore_case_blanks_and_what_no_reader_sees_but_not_the_task():
    assert record_id("t", "Cercasi  BARI\u00adSTA\u200b") == record_id("t", "cercasi barista")
    assert record_id("t", "cercasi barista") != record_id("u", "cercasi barista")
    assert record_id("t", "!!!") != record_id("t", "???")


SYMBOLS = ["You are a real 🐕", "You are a real 🌟", "You are a real ⭐!!", "C++", "C#", "C", "c'è", "c è"]


def test_texts_that_differ_in_symbols_are_different_texts_that_no_split_parts():
    assert len({record_id("t", text) for text in SYMBOLS}) == len(SYMBOLS)
    groups = near_duplicate_groups(SYMBOLS)
    assert len(set(groups[:3])) == len(set(groups[3:6])) == 1
    test, pool = {"id": "a", "text": SYMBOLS[0]}, {"id": "b", "text": SYMBOLS[1]}
    assert leaked_records([pool], [test]) == [pool]


SIGNS = [
    "10² m",
    "102 m",
    "10₂ m",
    "① first",
    "1 first",
    "Acme™",
    "Acme TM",
    "12 ㎡",
    "12 m2",
    "½",
    "1⁄2",
    "2ⁿ",
    "2n",
    "№ 5",
    "No 5",
]


def test_signs_that_read_differently_are_different_texts_that_resemble_each_other():
    assert len({record_id("t", text) for text in SIGNS}) == len(SIGNS)
    assert len(set(near_duplicate_groups(["10² m", "102 m"]))) == len(set(near_duplicate_groups(["½", "1⁄2"]))) == 1


IDS = {
    "Wait… she said “no” – it’s 5\u00a0€": "b01cebd6d34d7b04",
    "L´infermiera è ﬁdata, 1ª classe": "38d8486bc00a7566",
    "ＦＵＬＬ width, Ⅳ secolo, Straße": "97f00fd89412dd72",
    "❤\ufe0f\u200d🔥 1\ufe0f⃣ 👩🏽\u200d🍳 caffè": "98377b7fbc4f5657",
    "می\u200cخواهم": "b67b4c4b1b7624d8",
}


@pytest.mark.parametrize("text", IDS)
def test_labels_hold_on_to_the_ids_that_texts_have_had(text):
    assert record_id("t", text) == IDS[text]


LONG = "cerchiamo una persona con esperienza nella vendita di scarpe e borse per il negozio di Parma centro"


def test_near_duplicates_share_a_group():
    groups = near_duplicate_groups([LONG, LONG + " storico", "tutt'altra frase sul forno a legna del paese", "x"])
    assert groups[0] == groups[1] and len(set(groups)) == 3


def test_splits_keep_groups_and_parents_whole():
    rows = [{"id": str(i), "text": f"{LONG} {i % 3 * 'abc '}", "split": ""} for i in range(4)]
    rows += [{"id": f"u{i}", "text": " ".join(f"w{i}x{k}" for k in range(12)), "split": ""} for i in range(40)]
    rows.append({"id": "child", "text": "una riga sintetica qualunque", "split": "", "parent_id": "u0"})
    groups = link_parents(rows, near_duplicate_groups([r["text"] for r in rows], 0.6))
    split = split_by_group(rows, groups, {"test": 10, "validation": 8}, seed=1)
    split_of = {r["id"]: r["split"] for r in split}
    assert len({split_of[str(i)] for i in range(4)}) == 1
    assert split_of["child"] == split_of["u0"]
    sizes = Counter(split_of.values())
    assert sizes["test"] == 10 and sizes["validation"] == 8


@pytest.mark.parametrize("seed", range(5))
def test_drawn_sets_keep_the_shares_of_the_labels(seed):
    labels = ["rare"] * 11 + ["middle"] * 30 + ["common"] * 159
    rows = [{"id": str(i), "text": f"text {i}", "split": "", "label": label} for i, label in enumerate(labels)]
    split = split_by_group(rows, np.arange(200), {"test": 40, "validation": 20}, seed)
    counts = {name: Counter(r["label"] for r in split if r["split"] == name) for name in ("test", "validation", "pool")}
    assert counts["test"].total() == 40 and counts["validation"].total() == 20
    for name, own in counts.items():
        for label, count in Counter(labels).items():
            assert abs(own[label] - own.total() * count / 200) <= (2 if name == "pool" else 1), (name, label)


def test_no_draw_takes_the_last_row_of_a_rare_label():
    labels = ["rare"] * 2 + ["odd"] * 2 + ["common"] * 96
    rows = [{"id": str(i), "text": f"text {i}", "split": "", "label": label} for i, label in enumerate(labels)]
    for seed in range(5):
        split = split_by_group(rows, np.arange(100), {"test": 20, "validation": 10}, seed)
        assert Counter(r["split"] for r in split) == {"test": 20, "validation": 10, "pool": 70}
        assert {r["label"] for r in split if r["split"] == "pool"} == set(labels)


def test_groups_of_several_labels_still_fill_the_sets():
    rows = [{"id": str(i), "text": f"text {i}", "split": "", "label": "ab"[i % 2]} for i in range(60)]
    split = split_by_group(rows, np.arange(60) // 2, {"test": 20, "validation": 10})
    assert Counter(r["split"] for r in split) == {"test": 20, "validation": 10, "pool": 30}
    whole = split_by_group(rows, np.arange(60) // 3, {"test": 20, "validation": 10})
    assert Counter(r["split"] for r in whole)["test"] >= 18


def test_a_pool_row_that_resembles_a_test_row_leaves():
    rows = [
        {"id": "t", "text": LONG, "split": "test"},
        {"id": "p", "text": LONG + " storico", "split": "pool"},
        {"id": "q", "text": "niente a che vedere con il resto della raccolta", "split": "pool"},
    ]
    split = split_by_group(rows, near_duplicate_groups([r["text"] for r in rows]), {"test": 0, "validation": 0})
    assert [r["id"] for r in split] == ["t", "q"]
    assert [r["id"] for r in leaked_records(rows[1:], rows[:1])] == ["p"]


def test_evaluation_sets_that_leave_no_pool_are_refused():
    rows = [{"id": str(i), "text": f"testo numero {i}", "split": ""} for i in range(5)]
    with pytest.raises(UserError, match=r"evaluation sets .test_size=9, validation_size=2. take every text .5.: lower"):
        split_by_group(rows, np.arange(5), {"test": 9, "validation": 2})


@given(st.lists(st.text(min_size=1, max_size=30), min_size=5, max_size=12), st.integers(0, 5))
def test_split_never_loses_or_doubles_a_row_without_evaluation_overlap(texts, seed):
    rows = [{"id": str(i), "text": t, "split": ""} for i, t in enumerate(texts)]
    groups = near_duplicate_groups(texts)
    split = split_by_group(rows, groups, {"test": 2, "validation": 1}, seed)
    assert [r["id"] for r in split] == [r["id"] for r in rows]
    split_of = {}
    for row, group in zip(split, groups, strict=True):
        assert split_of.setdefault(group, row["split"]) == row["split"]


def test_a_guideline_is_a_file_the_embedded_one_or_none(tmp_path):
    assert embedded.read_guideline("") == ""
    assert "inclusive" in embedded.read_guideline("embedded:italian_jobs/GUIDELINE.md")
    with pytest.raises(UserError, match="guideline="):
        embedded.read_guideline(str(tmp_path / "none.md"))


@pytest.mark.parametrize("answer", ["label", "target"])
def test_texts_without_an_answer_can_only_wait_in_the_pool(answer):
    records = [{"id": "a", answer: "b", "split": "test"}, {"id": "c", "split": "test"}]
    answered, bare = split_by_answer(records, answer, "oracle")
    assert [r["id"] for r in answered] == ["a"] and bare == [{"id": "c", "split": "pool"}]
    assert split_by_answer(records, answer, "human") == (records, [])
    with pytest.raises(UserError, match=f"None of the 1 texts has a {answer}: name the column in"):
        split_by_answer(bare, answer, "teacher")
    with pytest.raises(UserError, match="labeller='umano' must be one of human, model, oracle, teacher"):
        split_by_answer(records, answer, "umano")


def test_a_run_whose_seed_takes_most_texts_is_refused():
    for size, taken in ((100, 42), (40, 40)):
        sentence = rf"leave 42 texts .* \(seed_size={size}\) takes {taken} of them"
        sentence += ".*: set seed_size to 14 or less and batch_labels to 5 or less"
        with pytest.raises(UserError, match=sentence):
            refuse_small_run(42, 0, size)
    with pytest.raises(UserError, match="leave 2 texts to choose from: give more texts"):
        refuse_small_run(2, 50, 1)
    refuse_small_run(42, 0, 31)
    refuse_small_run(42, 92, 100)
    refuse_small_run(3, 0, 2)


def test_batches_that_leave_nothing_of_the_pool_are_said_with_a_remedy():
    assert whole_pool_remark(361, 4, 90) == ""
    assert "4 rounds of 90 labels take all 360 texts of the pool, whatever" in whole_pool_remark(360, 4, 90)
    for pool in (28, 40, 360):
        batch = largest_batch(pool, 4)
        assert f"set batch_labels to {batch} or less" in whole_pool_remark(pool, 4, 90) and pool - 4 * batch >= batch
    assert "set fewer rounds, or give more texts" in whole_pool_remark(4, 4, 90)


def test_evaluation_sets_without_a_size_take_a_share():
    assert evaluation_sizes(120) == {"test": 24, "validation": 12}
    assert evaluation_sizes(120, validation=30) == {"test": 24, "validation": 30}
    assert evaluation_sizes(1_000_000) == {"test": 1000, "validation": 500}


def test_rows_for_the_scorer_are_set_aside_like_an_evaluation_set():
    records = [{"id": str(i), "text": f"text number {i}", "split": ""} for i in range(20)]
    split = split_by_group(records, np.arange(20), {"test": 4, "validation": 3, "scorer": 5})
    rows = dict(named_sets([], [], [r for r in split if r["split"] != "pool"]))
    assert {name: len(r) for name, r in rows.items() if r} == {"validation": 3, "test": 4, "scorer": 5}
    assert leaked_records([{"id": "x", "text": rows["scorer"][0]["text"]}], rows["scorer"])


def test_shares_of_a_group_in_several_sets():
    rows = [{"g": g} for g in "aab"]
    table = group_shares({"pool": rows, "picks": rows[:1]}, "g")
    assert table.index.tolist() == ["a", "b"] and table.loc["b"].tolist() == [pytest.approx(1 / 3), 0.0]


def templated(count: int, places: int) -> Iterator[str]:
    """Texts of one template with so many words of their own."""
    words = [f"t{k}" for k in range(60)]
    for i in range(count):
        for place in range(places):
            words[place * 60 // places] = f"v{i}x{place}"
        yield " ".join(words)


def groups_by_all_pairs(texts: list[str], threshold: float) -> np.ndarray:
    """The groups of what an LSH index proposes and the signatures confirm, every pair compared."""
    from datasketch import MinHash, MinHashLSH
    from scipy.sparse.csgraph import connected_components

    signatures = MinHash.bulk([_trigrams(text) for text in texts], num_perm=64, seed=1)
    index, links = MinHashLSH(threshold=threshold, num_perm=64), np.eye(len(texts))
    for i, signature in enumerate(signatures):
        for j in index.query(signature):
            links[i, j] = signature.jaccard(signatures[j]) >= threshold
        index.insert(i, signature)
    return connected_components(links, directed=False)[1]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95])
def test_groups_are_those_of_all_pairs(threshold):
    texts = [r["text"] for r in embedded.pool_texts()[:300]]
    texts += [*templated(80, 2), *templated(80, 4), *templated(80, 6), *texts[:20]]
    assert near_duplicate_groups(texts, threshold).tolist() == groups_by_all_pairs(texts, threshold).tolist()


@pytest.mark.parametrize("places", [2, 6])  # most are linked; they share buckets and are not linked
def test_templated_texts_take_no_square_of_their_number(places):
    texts = list(templated(8000, places))
    start = time.perf_counter()
    groups = near_duplicate_groups(texts)
    assert time.perf_counter() - start < 40  # a comparison of all pairs took 156 s
    assert (len(set(groups)) > 7000) == (places == 6)


def test_parents_join_groups_over_others():
    rows = [{"id": str(i), "parent_id": str(i + 1)} for i in range(3)] + [{"id": "3"}, {"id": "4"}]
    groups = link_parents(rows, np.arange(5))
    assert len(set(groups[:4])) == 1 and groups[4] != groups[0]
