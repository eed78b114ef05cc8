"""What is learned: the classes, and the one that is looked for."""

import pytest

from helpers.env import UserError
from helpers.task import guess_remark, looked_for, make_task

PARAMS = {"task": "t", "labels": [], "positive_label": "", "group_columns": []}


@pytest.mark.parametrize(
    ("change", "labels", "expected", "words"),
    [
        ({"positive_label": "a"}, "aab", "a", "positive_label says"),
        ({"labels": ["b", "a"]}, "aab", "a", "the last of labels"),
        ({}, "aab", "b", "the rarer of two"),
        ({}, "abb", "a", "the rarer of two"),
        ({"positive_label": "c"}, "aabc", "c", "positive_label says"),
    ],
)
def test_the_class_looked_for_is_named_or_the_rarer_of_two(change, labels, expected, words):
    positive, reason = looked_for(PARAMS | change, labels)
    assert positive == expected and words in reason
    assert make_task(PARAMS | change, labels).positive == expected


@pytest.mark.parametrize("labels", ["ab", "a" * 205 + "b" * 195, "a" * 81 + "b" * 100])
def test_of_two_that_are_about_as_frequent_it_is_a_guess_and_said(labels):
    positive, reason = looked_for(PARAMS, labels)
    assert positive in "ab" and reason.startswith("a guess") and "set positive_label" in reason


def test_a_class_that_no_parameter_names_is_said_to_be_taken():
    assert "'b' was taken (a guess, because" in guess_remark(PARAMS, "aabb") and "the rarer" in guess_remark(
        PARAMS, "aaab"
    )
    for change in ({"positive_label": "a"}, {"labels": ["b", "a"]}, {"label_threshold": "0.5"}):
        assert not guess_remark(PARAMS | change, "aabb")


def test_of_more_than_two_classes_one_must_be_named():
    with pytest.raises(
        UserError, match=r"the data have 3 classes \('a', 'b', 'c'\).*; set positive_label to one of them"
    ):
        make_task(PARAMS, "aabbc")
    assert make_task(PARAMS | {"labels": ["a", "b", "c"]}, "aab").positive == "c"
    for labels in (["0", "1", "2"], ["0.1", "1.1e-05", "none"]):
        with pytest.raises(UserError, match=r"set positive_label to one of them, or label_threshold to the number"):
            make_task(PARAMS, labels)


@pytest.mark.parametrize("name", ["label_names", "label_help"])
def test_names_of_the_labels_are_as_many_as_the_labels_of_the_data(name):
    with pytest.raises(UserError, match=rf"Parameter {name}=\['a'\] needs one for each of the labels \(x, y\)"):
        make_task(PARAMS | {name: ["a"]}, "xyy")
