"""A second process trains the same model to the same answers, and its loss costs nothing but time."""

import os
import signal

import numpy as np
import pytest

from helpers.core import Beside, QLoRA, beside
from tests.core.recipes import recipe


@pytest.fixture
def learner(task, tiny_llama, monkeypatch):
    monkeypatch.setattr(beside, "CORES", 2)
    return QLoRA(task, recipe(tiny_llama, epochs=1, batch_size=8), seed=3)


def test_the_second_process_answers_as_this_one_would(learner, rows, capfd):
    texts = [r["text"] for r in rows[24:32]]
    with Beside(learner) as other:
        assert other.take() is None  # nothing was started
        for seed in (5, 6):
            other.start(rows[:24], texts, seed)
            tokens = learner.tokens_read
            learner.fit(rows[:24], seed)
            expected = learner.predict_proba(texts)
            tokens = learner.tokens_read - tokens
            probabilities, used, seconds = other.take()
            np.testing.assert_array_equal(probabilities, expected)
            assert used == tokens and seconds > 0 and other.take() is None
    assert "second process" not in capfd.readouterr().out


def test_without_a_free_core_or_a_learner_nothing_is_started(learner, rows, monkeypatch):
    for one, cores in ((None, 2), (learner, 1)):
        monkeypatch.setattr(beside, "CORES", cores)
        with Beside(one) as other:
            other.start(rows[:24], ["a text"], 5)
            assert other.take() is None and other._pool is None


def test_a_process_that_was_killed_is_said_and_not_started_again(learner, rows, capsys):
    with Beside(learner) as other:
        other.start(rows[:24], ["a text"], 5)
        for process in other._pool._processes:
            os.kill(process, signal.SIGKILL)
        assert other.take() is None
        assert "this one trains in its place" in capsys.readouterr().out
        other.start(rows[:24], ["a text"], 5)
        assert other.take() is None


def test_what_is_wrong_with_the_rows_is_said_as_here(learner, rows):
    one_class = [r for r in rows if r["label"] == "good"]
    with Beside(learner) as other:
        other.start(one_class, ["a text"], 5)
        with pytest.raises(Exception, match="The labels so far are all of one class"):
            other.take()
