"""Who labels what: everything once, shared texts by k people, loads even; what is left; attributes stay here."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.env import UserError
from helpers.labels import exchange
from helpers.labels.log import append, events
from helpers.labels.seats import assign, attributes, keep_seats, pending, seats_of_rounds, set_attributes, simulate


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 60), st.integers(1, 5), st.floats(0, 1), st.floats(0, 0.5), st.integers(0, 9), st.data())
def test_assignment(n, people, share, repeat_share, seed, data):
    k = data.draw(st.integers(1, people))
    ids, names = [f"r{i}" for i in range(n)], [f"ann{i}" for i in range(people)]
    lists = assign(ids, names, k, share, repeat_share, seed)
    assert lists == assign(ids, names, k, share, repeat_share, seed)
    own = {name: list(dict.fromkeys(order)) for name, order in lists.items()}
    times = Counter(record for order in own.values() for record in order)
    assert set(times) == set(ids)  # everything is labelled
    assert sum(t == k for t in times.values()) >= round(share * n) and set(times.values()) <= {1, k}
    assert max(map(len, own.values())) - min(map(len, own.values())) <= 1
    for name, order in lists.items():
        assert max(Counter(order).values(), default=1) <= 2
        size = len(own[name])
        assert len(order) - size == (min(round(repeat_share * size), size // 2) if size >= 3 else 0)
        for record, count in Counter(order).items():
            if count == 2:
                first = order.index(record)
                assert order.index(record, first + 1) - first >= max(2, size // 4)


def test_every_pair_of_annotators_meets_and_orders_differ():
    lists = assign([f"r{i}" for i in range(200)], ["a", "b", "c", "d"], overlap_k=2)
    sets = {name: set(order) for name, order in lists.items()}
    assert all(sets[x] & sets[y] for x in sets for y in sets)
    assert assign(list("abcdefgh"), ["x", "y"], 2)["x"] != assign(list("abcdefgh"), ["x", "y"], 2)["y"]
    order = assign([f"r{i}" for i in range(200)], ["a"], repeat_share=0.2)["a"]
    again = [order.index(record) < i for i, record in enumerate(order)]
    assert sum(again) == 40 and not all(again[again.index(True) :])  # repeats do not give themselves away
    for wrong in ({"overlap_k": 3}, {"overlap_share": 2}, {"repeat_share": 0.9}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            assign(["1"], ["x", "y"], **wrong)


def test_a_later_round_leaves_the_seats_of_earlier_ones_as_they_are():
    names, shares = ["a", "b", "c"], {"overlap_k": 2, "overlap_share": 0.5, "repeat_share": 0.2, "seed": 7}
    rounds = [{"round": k, "picks": [f"r{k}-{i}" for i in range(20)]} for k in range(3)]
    seats = seats_of_rounds(rounds, names, **shares)
    first = seats_of_rounds(rounds[:2], names, **shares)
    assert all(seats[name][: len(first[name])] == first[name] and len(first[name]) > 10 for name in names)
    assert {i for ids in seats.values() for i in ids} == {i for row in rounds for i in row["picks"]}
    alone = [{"round": k, "picks": ["x", "y", "z", "u", "v"]} for k in range(9)]
    orders = seats_of_rounds(alone, ["a"])["a"]
    assert len({tuple(orders[i : i + 5]) for i in range(0, 45, 5)}) > 1  # every round has a seed of its own
    assert seats_of_rounds([], names) == {"a": [], "b": [], "c": []}


def test_pending_is_what_a_person_neither_labelled_nor_skipped(tmp_path):
    append(tmp_path, "anna", "label", "a", label="x")
    append(tmp_path, "anna", "skip", "b")
    append(tmp_path, "anna", "note", "c", text="hm")
    append(tmp_path, "anna", "label", "d", label="x")
    append(tmp_path, "anna", "undo", "d")
    seats = {"anna": ["a", "b", "c", "d", "e", "a"], "bruno": ["a", "a"]}
    assert pending(tmp_path, seats) == {"anna": ["c", "d", "e"], "bruno": ["a"]}
    assert pending(tmp_path / "none", {"anna": []}) == {"anna": []}


def test_attributes_are_kept_on_request_and_never_exported(tmp_path):
    append(tmp_path, "ann", "label", "r1", label="a")
    set_attributes(tmp_path, "ann", {"born": "Timbuktu"})
    assert attributes(tmp_path) == {"ann": {"born": "Timbuktu"}}
    for final in (True, False):
        exchange.export(tmp_path, tmp_path / "out.csv", final=final)
        assert "r1" in (text := (tmp_path / "out.csv").read_text()) and "Timbuktu" not in text
    set_attributes(tmp_path, "ann", {})
    assert attributes(tmp_path) == {}


def test_the_simulated_annotator_labels_each_text_once(tmp_path):
    oracle = {"a": "x", "b": "y", "c": "x"}
    simulate(tmp_path, ["a", "b"], oracle)
    simulate(tmp_path, ["a", "b", "c"], oracle)
    assert [(row["id"], row["label"]) for row in events(tmp_path)] == [("a", "x"), ("b", "y"), ("c", "x")]
    assert pending(tmp_path, {"oracle": list("abc")}) == {"oracle": []}


def test_a_record_stays_with_whoever_has_answered_it(tmp_path):
    append(tmp_path, "anna", "label", "b", label="x")
    append(tmp_path, "anna", "skip", "c")
    append(tmp_path, "bruno", "label", "e", label="y")
    kept = keep_seats({"anna": ["a", "d"], "bruno": ["b", "c", "e"]}, tmp_path)
    assert kept == {"anna": ["a", "d", "b", "c"], "bruno": ["e"]}
    assert pending(tmp_path, kept) == {"anna": ["a", "d"], "bruno": []}


def test_the_simulated_annotator_corrects_labels_that_the_data_have_changed(tmp_path):
    simulate(tmp_path, ["a", "b"], {"a": "x", "b": "y"})
    simulate(tmp_path, ["a", "b"], {"a": "x", "b": "x"})
    assert exchange.settled_labels(tmp_path) == {"a": "x", "b": "x"} and len(events(tmp_path)) == 3


@pytest.mark.parametrize("name", ["Adjudicator", "oracle", "TEACHER"])
def test_a_session_is_nobody_s_who_overrules_or_is_a_machine(name, tmp_path):
    with pytest.raises(UserError, match=r"another name|rename them"):
        assign(list("abc"), ["ann", name])
