"""The label store: what was acknowledged survives, torn lines do not matter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import labels
from helpers.env import UserError


def test_last_label_counts_and_undo_takes_it_back(tmp_path):
    labels.append(tmp_path, "ann", "label", "1", label="a")
    labels.append(tmp_path, "ann", "label", "1", label="b")
    labels.append(tmp_path, "ann", "label", "2", label="a")
    labels.append(tmp_path, "ann", "undo", "1")
    labels.append(tmp_path, "ann", "undo", "2")
    assert labels.replay(tmp_path) == {"1": "a"}


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_log_cut_at_any_byte_keeps_every_whole_line(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("store")
    for i in range(5):
        labels.append(folder, "ann", "label", str(i), label="però")
    path = folder / "ann.jsonl"
    path.write_bytes(path.read_bytes()[:cut])
    whole = path.read_bytes().count(b"\n")
    before = len(labels.replay(folder))
    assert before in (whole, whole + 1)  # a cut just before the line end leaves the event readable
    labels.append(folder, "ann", "label", "later", label="x")
    assert labels.replay(folder)["later"] == "x" and len(labels.replay(folder)) == before + 1


def test_unknown_event_and_a_disk_that_refuses(tmp_path):
    with pytest.raises(UserError, match="Event 'erase' is unknown"):
        labels.append(tmp_path, "ann", "erase", "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="NOT saved"):
        labels.append(tmp_path / "file", "ann", "label", "1", label="a")
