"""The label store: what was acknowledged survives, whatever happens to the process, the disk or the file."""

import csv
import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.data import tables
from helpers.data.records import drop_exact_duplicates, own_ids, record_id
from helpers.env import UserError
from helpers.labels import exchange, log, seats
from helpers.labels.exchange import settled_labels
from helpers.labels.log import (
    ADJUDICATOR,
    annotations,
    append,
    append_all,
    events,
    guideline_version,
    outside,
    unmatched,
)
from tests.project import SHARED

RECORDS = [{"id": f"r{i}", "text": f"Annuncio numero {i}, però"} for i in range(4)]


def write(folder, *events):
    """Append (annotator, event, record, facts) in turn."""
    for annotator, event, record, *facts in events:
        append(folder, annotator, event, record, **(facts[0] if facts else {}))


def readable(folder):
    """Events, where a warning would be an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return events(folder)


# --- what the events mean --------------------------------------------------------------------------------------------


def test_last_label_counts_and_undo_takes_it_back(tmp_path):
    a, b = {"label": "a"}, {"label": "b"}
    write(tmp_path, ("ann", "label", "1", a), ("ann", "label", "1", b), ("ann", "label", "2", a))
    write(tmp_path, ("ann", "undo", "1"), ("ann", "undo", "2"), ("ann", "undo", "2"))
    assert settled_labels(tmp_path) == {"1": "a"}
    assert annotations(tmp_path)["ann"].keys() == {"1"}


def test_undo_takes_back_the_latest_event_of_any_kind_of_that_annotator_alone(tmp_path):
    write(tmp_path, ("ann", "label", "1", {"label": "a"}), ("ann", "flag", "1"), ("bob", "label", "1", {"label": "b"}))
    write(tmp_path, ("ann", "undo", "1"))
    write(tmp_path, ("ann", "label", "2", {"label": "a"}), ("ann", "note", "2", {"text": "x"}), ("ann", "undo", "2"))
    state = annotations(tmp_path)
    assert state["ann"]["2"]["label"] == "a" and not state["ann"]["2"]["note"]
    assert state["ann"]["1"]["label"] == "a" and not state["ann"]["1"]["flagged"]
    assert state["bob"]["1"]["label"] == "b"


def test_state_of_a_record(tmp_path):
    facts = {"label": "a", "spans": [[0, 3]]}
    write(
        tmp_path,
        ("ann", "skip", "1"),
        ("ann", "label", "1", facts),
        ("ann", "label", "1", {"label": "b", "repeat": True}),
    )
    write(tmp_path, ("ann", "flag", "1"), ("ann", "flag", "1"), ("ann", "flag", "1"))
    write(tmp_path, ("ann", "note", "1", {"text": "x"}), ("ann", "note", "1", {"text": "y"}))
    state = annotations(tmp_path)["ann"]["1"]
    assert state | facts == state and state["repeats"] == ["b"]
    assert not state["skipped"] and state["flagged"] and state["note"] == "y"
    write(tmp_path, ("ann", "flag", "1"))
    assert not annotations(tmp_path)["ann"]["1"]["flagged"]


def test_a_skip_withdraws_the_label_until_it_is_undone(tmp_path):
    write(tmp_path, ("ann", "label", "1", {"label": "a"}), ("bob", "label", "1", {"label": "b"}), ("bob", "skip", "1"))
    assert settled_labels(tmp_path) == {"1": "a"}
    assert annotations(tmp_path)["bob"]["1"]["skipped"]
    write(tmp_path, ("bob", "undo", "1"))
    state = annotations(tmp_path)["bob"]["1"]
    assert state["label"] == "b" and not state["skipped"]


def test_the_adjudicator_overrules_later_labels(tmp_path):
    write(tmp_path, (ADJUDICATOR, "label", "1", {"label": "a", "reason": "§ 2"}))
    write(tmp_path, ("ann", "label", "1", {"label": "b"}), ("ann", "label", "2", {"label": "b"}))
    assert settled_labels(tmp_path) == {"1": "a", "2": "b"}
    write(tmp_path, (ADJUDICATOR, "undo", "1"))
    assert settled_labels(tmp_path)["1"] == "b"


def test_a_clock_that_jumps_back_does_not_reorder_a_log(tmp_path):
    rows = [
        {"time": t, "event": "label", "id": "1", "annotator": "ann", "label": x} for t, x in ((100, "a"), (50, "b"))
    ]
    append_all(tmp_path, "ann", rows)
    append_all(tmp_path, "bob", [rows[0] | {"annotator": "bob", "time": t} for t in (60, 70)])
    assert annotations(tmp_path)["ann"]["1"]["label"] == "b"
    assert [row["time"] for row in events(tmp_path)] == [60, 70, 100, 50]


KINDS = st.sampled_from(["label", "label", "undo", "skip", "flag", "note"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "adjudicator"]), KINDS, st.sampled_from("12"), st.booleans()),
    min_size=5,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, cut=st.none() | st.integers(0, 9000))
def test_replay_agrees_with_a_plain_model_after_a_cut_at_any_byte(tmp_path_factory, steps, cut):
    folder = tmp_path_factory.mktemp("store")
    for i, (annotator, kind, record, repeat) in enumerate(steps):
        row = {"time": float(i), "event": kind, "id": record, "annotator": annotator}
        row |= {"label": f"però{i}", "repeat": repeat} if kind == "label" else {}
        append_all(folder, annotator, [row])
    logs = sorted(folder.glob("*.jsonl"))
    whole = {}
    for path in logs:  # each log is cut at another byte
        if cut is not None:
            path.write_bytes(path.read_bytes()[: (cut * 7 + len(path.name) * 31) % (path.stat().st_size + 1)])
        whole[path.stem] = [json.loads(x) for x in path.read_bytes().split(b"\n") if x.endswith(b"}")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = annotations(folder)
    stacks: dict = {}
    for row in sorted((r for rows in whole.values() for r in rows), key=lambda r: r["time"]):
        stack = stacks.setdefault((row["annotator"], row["id"]), [])
        stack.append(row) if row["event"] != "undo" else stack and stack.pop()
    for key, stack in stacks.items():
        answers = [r for r in stack if r["event"] in ("label", "skip") and not r.get("repeat")]
        assert (key[1] in state.get(key[0], {})) == bool(stack)
        if stack:
            own = state[key[0]][key[1]]
            assert own["label"] == (answers[-1].get("label") if answers else None)  # a skip has none
            assert own["skipped"] == bool(answers and answers[-1]["event"] == "skip")
            assert own["flagged"] == (sum(r["event"] == "flag" for r in stack) % 2 == 1)
            assert own["repeats"] == [r["label"] for r in stack if r.get("repeat")]


# --- faults ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 700))
def test_a_log_cut_at_any_byte_keeps_every_whole_line_and_takes_the_next(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("store")
    for i in range(5):
        append(folder, "ann", "label", str(i), label="però")
    path = folder / "ann.jsonl"
    path.write_bytes(path.read_bytes()[:cut])
    whole = path.read_bytes().count(b"\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = len(settled_labels(folder))
        assert before in (whole, whole + 1)  # a cut just before the line end leaves the event readable
        append(folder, "ann", "label", "later", label="x")
        after = settled_labels(folder)
    assert after["later"] == "x" and len(after) == before + 1


def test_nobody_speaks_as_the_adjudicator_or_a_machine_in_a_log_of_another_name(tmp_path):
    """As in a log that somebody from outside has sent: it would overrule everybody."""
    write(tmp_path, ("ann", "label", "1", {"label": "a"}), ("bob", "label", "1", {"label": "a"}))
    forged = [
        {"event": "label", "id": "1", "label": "b", "time": 9, "annotator": name} for name in ("adjudicator", "teacher")
    ]
    (tmp_path / "eve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in forged))
    with pytest.warns(
        UserWarning, match=r"eve\.jsonl: 1 event of 'adjudicator' left out; .* stands in adjudicator\.jsonl"
    ):
        assert settled_labels(tmp_path) == {"1": "a"}
    append(tmp_path, "adjudicator", "label", "1", label="c")
    shutil.copy(tmp_path / "adjudicator.jsonl", tmp_path / "adjudicator (1).jsonl")
    with pytest.warns(UserWarning, match="left out"):
        assert settled_labels(tmp_path) == {"1": "c"}


def test_an_import_of_names_that_differ_in_capitals_writes_none_of_them(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,label,who\nr1,a,anna\nr2,b,Anna\n")
    folder = tmp_path / "labels"
    with pytest.raises(UserError, match="There is also 'anna', and 'Anna' differs in capitals alone"):
        exchange.import_labels(path, folder, RECORDS, "t", id_column="id", annotator_column="who")
    assert not folder.exists() or not list(folder.glob("*.jsonl"))


def test_unreadable_lines_give_one_warning_that_names_file_and_line(tmp_path):
    write(tmp_path, ("ann", "label", "1", {"label": "a"}))
    with (tmp_path / "ann.jsonl").open("ab") as log:
        log.write(b'{"time": 1, "event": "label", "id": "2"}\n\xff\xfe non UTF-8\n[1]\n\n{"time": 2, "event": "la')
    with pytest.warns(UserWarning, match=r"ann\.jsonl, line 2 \(and 3 more\): not a readable event") as caught:
        assert len(events(tmp_path)) == 1
    assert len(caught) == 1
    write(tmp_path, ("ann", "label", "3", {"label": "b"}))
    with pytest.warns(UserWarning):
        assert settled_labels(tmp_path) == {"1": "a", "3": "b"}


def test_every_reader_accepts_and_leaves_out_the_same_odd_lines(tmp_path):
    start = b'{"event": "label", "label": "a", "time": '
    readable_lines = {
        "mark": b"\xef\xbb\xbf" + start + b'1, "id": "mark"}',
        "nan": start + b'2, "id": "nan", "seconds": NaN, "more": Infinity}',
        "half": start + b'3, "id": "half", "text": "\\ud83d"}',
        "big": start + b'4, "id": "big", "more": 1e999, "event_id": 7}\r',
    }
    unreadable_lines = [
        start + b'5, "id": "byte", "more": "\xff"}',
        start + b'6, "id": "deep", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        start + b'"7", "id": "clock"}',
        start + b'8, "id": 8}',
        start + b'9, "id": "torn", "more": [1,',
    ]
    (tmp_path / "ann.jsonl").write_bytes(b"\n".join([*readable_lines.values(), *unreadable_lines]))
    one_warning = pytest.warns(UserWarning, match=r"ann\.jsonl, line 5 \(and 4 more\)")
    with one_warning:
        rows = events(tmp_path)
    with one_warning:
        assert settled_labels(tmp_path) == dict.fromkeys(readable_lines, "a") == settled_labels(rows)
    with one_warning:
        assert annotations(tmp_path)["ann"].keys() == readable_lines.keys()
    assert [row["id"] for row in rows] == list(readable_lines) and {row["annotator"] for row in rows} == {"ann"}


USELESS = [
    {"seconds": "abc"},
    {"seconds": -1},
    {"seconds": 1e300},
    {"seconds": True},
    {"seconds": float("nan")},
    {"spans": "<img src=x>"},
    {"spans": {"a": 1}},
    {"spans": [[0, "z"], 5]},
    {"spans": [[-5, 10**9]]},
    {"spans": [[3, 1]]},
    {"spans": [[0, 1, 2]]},
    {"spans": [[True, 2]]},
    {"shown": "model"},
    {"shown": [{"a": 1}]},
    {"repeat": "no"},
    {"reason": ["x"]},
    {"guideline": 7},
    {"together": ["x"]},
    {"text": {"x": ["\x1b]0;p\x07"]}},
]


def raw_event(record, **facts):
    return json.dumps({"event": "label", "id": record, "label": "a", "time": 1, "annotator": "eve"} | facts) + "\n"


@pytest.mark.parametrize("facts", USELESS)
def test_an_event_with_a_useless_field_keeps_its_label_and_its_file_stays(tmp_path, facts):
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "eve.jsonl"
    path.write_text(raw_event("r0", **facts))
    before = path.read_bytes()
    (row,) = readable(folder)
    assert row["label"] == "a" and not facts.keys() & row.keys()
    assert settled_labels(folder) == {"r0": "a"} and annotations(folder)["eve"]["r0"]["spans"] == []
    for suffix in tables.WRITERS:
        for final in (True, False):
            exchange.export(folder, tmp_path / f"out{suffix}", RECORDS, final)
    assert path.read_bytes() == before


def test_a_note_of_no_use_leaves_the_one_before(tmp_path):
    write(tmp_path, ("eve", "note", "r0", {"text": "mine"}))
    with (tmp_path / "eve.jsonl").open("a") as stream:
        stream.write(raw_event("r0", event="note", text=[1], time=9e9))
    assert annotations(tmp_path)["eve"]["r0"]["note"] == "mine"


def test_a_time_that_is_no_number_takes_that_of_the_line_before(tmp_path):
    lines = [raw_event("r0", time=5), raw_event("r0", time=float("nan"), label="b"), raw_event("r0", time=9, label="c")]
    (tmp_path / "eve.jsonl").write_text("".join(lines))
    (tmp_path / "bob.jsonl").write_text(raw_event("r1", time=7, annotator="bob"))
    assert [(row["time"], row["label"]) for row in readable(tmp_path)] == [(5, "a"), (5, "b"), (7, "a"), (9, "c")]


@pytest.mark.parametrize("suffix", tables.WRITERS)
@pytest.mark.parametrize("final", [True, False])
def test_labels_of_every_type_are_exported_to_every_format(tmp_path, suffix, final):
    labels = ["a", True, 3, 1.5, {"a": 1}, ["x"], "half \ud83d", float("inf")]
    lines = [
        raw_event("r0", label=label, annotator=f"p{i}", event_id=[i, f"e{i}"][i % 2]) for i, label in enumerate(labels)
    ]
    (tmp_path / "eve.jsonl").write_text("".join(lines))
    table = exchange.export(tmp_path, tmp_path / f"out{suffix}", RECORDS, final)
    assert len(table) == (1 if final else len(labels)) and (tmp_path / f"out{suffix}").exists()


def test_a_label_outside_the_task_names_line_person_record_and_remedy(tmp_path):
    write(
        tmp_path,
        ("ann", "label", "r0", {"label": "gone"}),
        ("ann", "undo", "r0"),
        ("ann", "label", "r0", {"label": "a"}),
    )
    exchange.refuse_outside(tmp_path, ["a", "b"], ["r0"])
    write(tmp_path, ("bob", "label", "r1", {"label": "a"}), ("bob", "label", "r1", {"label": "gone"}))
    exchange.refuse_outside(tmp_path, ["a", "b"], ["r0"])  # another record is nobody's concern
    exchange.refuse_outside(tmp_path, [], ["r1"])  # a task of generation
    exchange.refuse_outside(tmp_path / "none", ["a", "b"], ["r1"])
    sentence = (
        r"bob\.jsonl, line 2: bob labels record r1 'gone', which is not one of a, b; correct that line, or .*import`"
    )
    with pytest.raises(UserError, match=sentence):
        exchange.refuse_outside(tmp_path, ["a", "b"], ["r1"])
    write(tmp_path, (ADJUDICATOR, "label", "r1", {"label": "b"}))
    exchange.refuse_outside(tmp_path, ["a", "b"], ["r1"])
    (tmp_path / "eve.jsonl").write_text(raw_event("r2", label={"a": 1}) + raw_event("r3", label=float("nan")))
    with pytest.raises(UserError, match=r"eve\.jsonl, line 1: eve labels record r2 \"\{'a': 1\}\""):
        exchange.refuse_outside(tmp_path, ["a", "b"], ["r2"])
    with pytest.raises(UserError, match=r"eve\.jsonl, line 2: eve labels record r3 'nan'"):
        exchange.refuse_outside(tmp_path, ["a", "b"], ["r3"])
    assert outside(annotations(tmp_path), ["a", "b"]) == {"gone": 1, "{'a': 1}": 1, "nan": 1}


def test_what_cannot_be_an_event_is_refused(tmp_path):
    with pytest.raises(UserError, match="Event 'erase' is unknown"):
        append(tmp_path, "ann", "erase", "1")
    with pytest.raises(UserError, match="needs a record id that is text and a label"):
        append(tmp_path, "ann", "label", "1")
    for name in ("", "../ann", "a/b", "a\\b", ".ann", "ann.", "a" * 65, "a\nb", "a:b"):
        with pytest.raises(UserError, match="names a file"):
            append(tmp_path, name, "flag", "1")
    assert not list(tmp_path.iterdir())
    append(tmp_path, "Zoë d-Angelo_2@x", "note", "1", text="lone surrogate \ud83d")
    assert len(readable(tmp_path)) == 1


def test_a_path_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="NOT saved"):
        append(tmp_path / "file", "ann", "label", "1", label="a")


def test_a_read_only_folder_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    folder = tmp_path if os.geteuid() else Path("/proc")  # root may write to any folder but that of the kernel
    with pytest.raises(UserError, match="NOT saved"):
        append(folder, "ann", "label", "1", label="a")
    with pytest.raises(UserError, match="could not be written"):
        seats.set_attributes(folder, "ann", {"born": "x"})


FULL = """
import resource, signal, sys
from pathlib import Path
from helpers.labels import log
from helpers.env import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
done = 0
try:
    while True:
        log.append(Path(sys.argv[1]), "ann", "label", f"r{done}", label="a")
        done += 1
except UserError as error:
    print(done, error)
"""


def test_a_disk_that_fills_refuses_the_label_and_leaves_no_part_of_it(tmp_path):
    """A file size limit stands in for the full disk: the kernel writes a part of the line, then refuses."""
    output = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True).stdout
    done = int(output.split()[0])
    assert "NOT saved" in output and done > 10
    assert len(readable(tmp_path)) == done  # no torn line
    write(tmp_path, ("ann", "label", "later", {"label": "b"}))
    assert len(readable(tmp_path)) == done + 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, and a function that mounts it again with other options."""

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)]
        return subprocess.run(words, capture_output=True, check=False).returncode

    if not Path("/proc/mounts").exists() or mount("size=64k"):
        pytest.skip("no file system can be mounted here")
    yield tmp_path, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_and_a_read_only_disk_keep_what_was_acknowledged(small_disk):
    folder, remount = small_disk
    done = 0
    with pytest.raises(UserError, match=r"NOT saved \(No space left on device\): make room"):
        while True:
            write(folder, ("ann", "label", f"r{done}", {"label": "a"}))
            done += 1
    assert done > 100 and len(readable(folder)) == done
    assert remount("size=128k") == 0
    write(folder, ("ann", "label", "later", {"label": "b"}))
    assert remount("ro") == 0
    with pytest.raises(UserError, match=r"NOT saved \(Read-only file system\)"):
        write(folder, ("ann", "label", "never", {"label": "b"}))
    assert len(readable(folder)) == done + 1


WRITER = """
import sys
from pathlib import Path
from helpers.labels import log
for i in range(int(sys.argv[3])):
    log.append(Path(sys.argv[1]), "ann", "label", f"{sys.argv[2]}-{i}", label="però " * 40)
    print(i, flush=True)
"""


def writer(folder, prefix, n, **options):
    return subprocess.Popen([sys.executable, "-c", WRITER, folder, prefix, str(n)], stdout=subprocess.PIPE, **options)


def test_kill_9_loses_no_acknowledged_label(tmp_path):
    acknowledged = 0
    for round_ in range(2):
        process = writer(tmp_path, f"p{round_}", 1_000_000)
        for _ in range(60):  # some are acknowledged, then it dies at an arbitrary point
            process.stdout.readline()
        time.sleep(random.Random(round_).random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += 60 + process.stdout.read().count(b"\n")
        process.wait()
    assert acknowledged <= len(settled_labels(tmp_path)) <= acknowledged + 2
    write(tmp_path, ("ann", "label", "after", {"label": "a"}))
    assert settled_labels(tmp_path)["after"] == "a"


def test_capitals_make_nobody_two_people(tmp_path):
    write(tmp_path, ("bruno", "label", "1", {"label": "a"}), ("anna", "label", "1", {"label": "b"}))
    with pytest.raises(
        UserError, match="has a log of 'bruno', and 'Bruno' differs in capitals alone: write it as there"
    ):
        log.append(tmp_path, "Bruno", "label", "1", label="b")
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == {"anna", "bruno"}


def test_two_processes_of_one_annotator_lose_and_tear_nothing(tmp_path):
    running = [writer(tmp_path, f"p{k}", 150) for k in range(2)]
    for process in running:
        process.communicate(timeout=60)
    assert {r["id"] for r in readable(tmp_path)} == {f"p{k}-{i}" for k in range(2) for i in range(150)}


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def no_locks(request, monkeypatch):
    """Mounted drives answer a request for a lock with one of these; none can be mounted here, so the call is replaced."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(getattr(errno, request.param), "No locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)


def refuse_to_sync(monkeypatch):
    def fsync(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_file_system_without_locks_still_takes_labels_and_truncates_nothing(tmp_path, no_locks, monkeypatch):
    for i in range(2):
        started = time.monotonic()
        write(tmp_path, ("ann", "label", str(i), {"label": "a"}))
        assert time.monotonic() - started < 5  # nobody waits for a lock that cannot be had
    assert len(readable(tmp_path)) == 2
    refuse_to_sync(monkeypatch)
    with pytest.raises(UserError, match="NOT saved"):
        write(tmp_path, ("ann", "label", "2", {"label": "a"}))
    assert len(readable(tmp_path)) == 3  # the end of the file could be another process's event


def test_a_refused_label_is_removed_under_the_lock(tmp_path, monkeypatch):
    write(tmp_path, ("ann", "label", "1", {"label": "a"}))
    before = (tmp_path / "ann.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        refuse_to_sync(patch)
        with pytest.raises(UserError, match=r"NOT saved \(Input/output error\)"):
            write(tmp_path, ("ann", "label", "2", {"label": "a"}))
    assert (tmp_path / "ann.jsonl").read_bytes() == before
    write(tmp_path, ("ann", "label", "3", {"label": "a"}))
    assert settled_labels(tmp_path).keys() == {"1", "3"}


def test_the_lock_file_is_no_log_and_harmless_in_a_copied_folder(tmp_path, monkeypatch):
    write(tmp_path / "a", ("ann", "label", "1", {"label": "a"}))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with FileLock(tmp_path / "a" / ".ann.lock"):  # another process is writing, and stays
        monkeypatch.setattr(log, "LOCK_SECONDS", 0.2)
        write(tmp_path / "b", ("ann", "label", "2", {"label": "a"}))
        write(tmp_path / "a", ("ann", "label", "3", {"label": "a"}))
    assert {path.name for path in (tmp_path / "b").glob("*.jsonl")} == {"ann.jsonl"}
    assert settled_labels(tmp_path / "b").keys() == {"1", "2"} and settled_labels(tmp_path / "a").keys() == {"1", "3"}
    assert annotations(tmp_path / "b").keys() == {"ann"}
    assert exchange.export(tmp_path / "b", tmp_path / "out.csv", final=False)["id"].tolist() == ["1", "2"]


def test_a_label_is_on_the_disk_before_append_returns(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def fsync(handle):
        synced.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path, ("ann", "label", "1", {"label": "a"}))
    assert (tmp_path / "ann.jsonl").stat().st_size in synced


# --- merging, other projects -----------------------------------------------------------------------------------------


def test_logs_merge_by_copying_and_an_event_counts_once(tmp_path):
    write(tmp_path / "a", *[("ann", "label", str(i), {"label": "a"}) for i in range(3)])
    copy = (tmp_path / "a" / "ann.jsonl").read_bytes()
    write(tmp_path / "a", ("ann", "undo", "2"))
    write(tmp_path / "b", ("bob", "label", "1", {"label": "b"}))
    (tmp_path / "a" / "ann (copy).jsonl").write_bytes(copy)
    (tmp_path / "a" / "bob.jsonl").write_bytes((tmp_path / "b" / "bob.jsonl").read_bytes())
    assert len(readable(tmp_path / "a")) == 5
    state = annotations(tmp_path / "a")
    labels = {name: {record: own["label"] for record, own in answers.items()} for name, answers in state.items()}
    assert labels == {"ann": {"0": "a", "1": "a"}, "bob": {"1": "b"}}


def test_an_old_log_without_event_ids_counts_each_line_once(tmp_path):
    line = json.dumps({"time": 1.5, "event": "label", "id": "1", "annotator": "ann", "label": "a"}) + "\n"
    for name in ("ann", "copy"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    assert len(readable(tmp_path)) == 1 and settled_labels(tmp_path) == {"1": "a"}


def test_a_log_of_another_project_and_labels_outside_the_task(tmp_path):
    write(tmp_path, ("ann", "label", "1", {"label": "a"}), ("ann", "label", "2", {"label": "gone"}))
    state = annotations(tmp_path)
    assert unmatched(state, ["1", "3"]) == ["2"]
    write(tmp_path, ("ann", "skip", "7", {}))  # 01 leaves such a text out of its sets
    assert unmatched(annotations(tmp_path), ["1", "3"]) == ["2"]
    assert set(exchange.final_labels(tmp_path, [{"id": "1", "text": "a"}]).id) == {"1", "2"}
    with pytest.raises(UserError, match=r"None of the 2 labelled record ids .* another task or another run"):
        unmatched(state, ["8", "9"])
    assert outside(state, ["a", "b"]) == {"gone": 1}


def test_an_empty_folder_is_an_empty_state(tmp_path):
    assert events(tmp_path) == [] and settled_labels(tmp_path / "none") == {} == annotations(tmp_path)


def test_guideline_version_follows_the_wording_only():
    assert guideline_version("a\r\nb \n") == guideline_version("\na\nb") != guideline_version("a\nc")


# --- tables out and in -----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "logs"
    write(folder, ("ann", "label", "r0", {"label": "a", "spans": [[0, 3]]}), ("bob", "label", "r0", {"label": "a"}))
    write(folder, ("ann", "label", "r1", {"label": "a"}), ("bob", "label", "r1", {"label": "b"}))
    write(folder, ("ann", "label", "r2", {"label": "a"}), ("bob", "label", "r2", {"label": "b"}), ("bob", "flag", "r2"))
    write(folder, (ADJUDICATOR, "label", "r2", {"label": "b"}), ("bob", "note", "r0", {"text": "=1+1\nsì"}))
    write(folder, ("ann", "label", "r3", {"label": "c"}), ("bob", "skip", "r3"))
    return folder


@pytest.mark.parametrize("suffix", tables.WRITERS)
def test_export_of_final_labels(store, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    exchange.export(store, path, RECORDS)
    readers = {".csv": pd.read_csv, ".jsonl": lambda p: pd.read_json(p, lines=True), ".parquet": pd.read_parquet}
    readers[".tsv"] = lambda p: pd.read_csv(p, sep="\t")
    rows = readers[suffix](path).set_index("id")
    assert rows["decided"].to_dict() == {"r0": "majority", "r1": "tie", "r2": "adjudicator", "r3": "only one"}
    assert rows["label"].fillna("").to_dict() == {"r0": "a", "r1": "", "r2": "b", "r3": "c"}
    assert rows.loc["r0", "text"] == RECORDS[0]["text"] and rows["count"].tolist() == [2, 2, 2, 1]
    assert "sì" in str(rows.loc["r0", "notes"]) and "bob" in str(rows.loc["r2", "flags"])
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []  # nothing half-written is left


def test_an_exported_csv_holds_no_formula_unless_it_is_raw_and_an_import_reads_it_back(tmp_path):
    texts = ['=HYPERLINK("http://payload.invalid")', "+39 02 1234567 chiamare ora", "-5", "'=già protetto", "fine"]
    records = [{"id": f"r{i}", "text": text} for i, text in enumerate(texts)]
    labels = ["=1+1", "@SUM(1)", "-1", "'-x", "a"]
    for row, label in zip(records, labels, strict=True):
        append(tmp_path / "logs", "-ann", "label", row["id"], label=label)
        append(tmp_path / "logs", "-ann", "note", row["id"], text="=2+2")
    for final in (True, False):
        exchange.export(tmp_path / "logs", tmp_path / "out.csv", records, final)
        cells = list(csv.reader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
        flat = [cell for row in cells for cell in row]
        assert not [c for c in flat if c[:1] in ("=", "+", "@", "\t", "\r") or (c[:1] == "-" and c not in ("-1", "-5"))]
        assert "'=1+1" in flat and "''-x" in flat and "-1" in flat
    exchange.export(tmp_path / "logs", tmp_path / "raw.csv", records, raw=True)
    assert pd.read_csv(tmp_path / "raw.csv").text.tolist() == texts
    for name in ("out.csv", "out.tsv"):
        exchange.export(tmp_path / "logs", tmp_path / name, records)
        report = exchange.import_labels(tmp_path / name, tmp_path / f"again {name}", records, "t", id_column="id")
        assert report["taken"] == 5
        assert [settled_labels(tmp_path / f"again {name}")[f"r{i}"] for i in range(5)] == labels


def test_an_export_to_csv_that_was_saved_in_another_format_keeps_no_guard(tmp_path):
    records = [{"id": f"r{i}", "text": f"annuncio {i}"} for i in range(4)]
    targets = ["- Cercasi una persona", "@tutte e tutti", "'- così", "Cercasi personale"]
    entries = [{"event": "label", "id": f"r{i}", "label": target} for i, target in enumerate(targets)]
    append_all(tmp_path / "logs", "ann", entries)
    for name in ("out.csv", "own.jsonl"):
        exchange.export(tmp_path / "logs", tmp_path / name, records)
    table = pd.read_csv(tmp_path / "out.csv")
    table.loc[table.id == "r3", "label"] = "Cercasi una figura"
    table.to_json(tmp_path / "out.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "out.parquet")
    for name, taken in (("own.jsonl", 0), ("out.jsonl", 1), ("out.parquet", 0)):
        report = exchange.import_labels(
            tmp_path / name, tmp_path / "logs", records, "t", id_column="id", annotator="ann"
        )
        assert report["taken"] == taken, name
        assert bool([r for r in report["remarks"] if "export to CSV" in r]) == name.startswith("out")
        report = exchange.import_labels(tmp_path / name, tmp_path / f"of {name}", records, "t", id_column="id")
        there = settled_labels(tmp_path / f"of {name}")  # a run of which nothing is known yet
        assert [there["r0"], there["r1"]] == targets[:2]
    assert settled_labels(tmp_path / "logs") == dict(zip(["r0", "r1", "r2"], targets, strict=False)) | {
        "r3": "Cercasi una figura"
    }


def test_an_apostrophe_of_the_text_itself_is_no_guard(tmp_path):
    texts = ["'=A1 dice la cella", "=A1 dice la cella", "-- così", "'@anna saluta", "fine"]
    records = [{"id": record_id("t", text), "text": text} for text in texts]
    ids = [row["id"] for row in records]
    labels = ["'-x", "=y", "=y", "'-x", "a"]
    append_all(
        tmp_path / "logs", "ann", [{"event": "label", "id": i, "label": n} for i, n in zip(ids, labels, strict=True)]
    )
    options = {"task": "t", "task_labels": ["'-x", "=y", "a"]}
    for name in ("out.csv", "out.tsv", "raw.csv", "out.jsonl"):
        exchange.export(tmp_path / "logs", tmp_path / name, records, raw=name == "raw.csv")
        for column in ("", "id"):
            logs = tmp_path / f"from {column} {name}"
            report = exchange.import_labels(tmp_path / name, logs, records, id_column=column, **options)
            assert [settled_labels(logs)[i] for i in ids] == labels and not report["remarks"]
    (tmp_path / "in.csv").write_text(
        "text,label\n'=A1 dice la cella,a\n'-- così,'=y\n'@anna saluta,'-x\n''@anna saluta,'-x\n"
    )
    report = exchange.import_labels(tmp_path / "in.csv", tmp_path / "new", records, **options)
    assert settled_labels(tmp_path / "new") == {ids[0]: "a", ids[2]: "=y", ids[3]: "'-x"}
    assert report["remarks"] == [
        "text, 1 cell: of one record as it stands, of another without the apostrophe in front; the former counts."
    ]
    (tmp_path / "own.csv").write_text("key,label\n'=1,a\n'-a,a\n")
    keyed = [row | {"own_id": key} for row, key in zip(records, ["'=1", "=1", "-a", "3", "4"], strict=True)]
    exchange.import_labels(tmp_path / "own.csv", tmp_path / "keyed", keyed, "t", id_column="key")
    assert settled_labels(tmp_path / "keyed") == {ids[0]: "a", ids[2]: "a"}


@pytest.mark.parametrize("name", ["adjudicator", "Adjudicator", " ADJUDICATOR ", "ａdjudicator", "oracle", "Teacher"])
def test_no_import_may_speak_for_the_adjudicator_or_a_machine(tmp_path, name):
    (tmp_path / "in.csv").write_text(f"id,label,who\nr0,a,ann\nr1,b,{name}\n", encoding="utf-8")
    options = {"task": "t", "id_column": "id"}
    with pytest.raises(UserError, match=r"another name|rename them"):
        exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, annotator_column="who", **options)
    with pytest.raises(UserError, match=r"another name|rename them"):
        exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, annotator=name, **options)
    assert not (tmp_path / "logs").exists()


def test_export_weighs_three_annotators_by_how_reliable_they_are(tmp_path):
    """Ann and bob agree on everything, cy answers at random; on the last record ann and cy are alone and differ."""
    rng = random.Random(0)
    for i in range(40):
        truth = "ab"[i % 2]
        for name, label in (("ann", truth), ("bob", truth), ("cy", rng.choice("ab"))):
            append(tmp_path, name, "label", f"r{i}", label=label)
    for name, label in (("ann", "a"), ("cy", "b")):
        append(tmp_path, name, "label", "r40", label=label)
    table = exchange.export(tmp_path, tmp_path / "out.csv").set_index("id")
    assert table.loc["r40", "decided"] == "tie" and table.loc["r40", "dawid_skene"] == "a"
    assert all(table.loc[f"r{i}", "dawid_skene"] == "ab"[i % 2] for i in range(40))


def test_nobody_is_weighed_by_hundreds_of_classes(tmp_path):
    for name in ("ann", "bob", "cy"):
        log.append_all(tmp_path, name, [{"event": "label", "id": f"r{i}", "label": f"c{i}"} for i in range(201)])
    assert "dawid_skene" not in exchange.export(tmp_path, tmp_path / "out.csv")


@pytest.mark.parametrize("suffix", tables.WRITERS)
def test_export_of_the_history(store, tmp_path, suffix):
    table = exchange.export(store, tmp_path / f"out{suffix}", final=False)
    assert len(table) == len(events(store)) and (tmp_path / f"out{suffix}").stat().st_size > 500


def test_export_refuses_an_unknown_suffix_and_an_empty_folder(store, tmp_path):
    with pytest.raises(UserError, match=r"ends in '\.xlsx'"):
        exchange.export(store, tmp_path / "out.xlsx")
    with pytest.raises(UserError, match="holds no labels"):
        exchange.export(tmp_path / "none", tmp_path / "out.csv")


def test_import_takes_what_fits_and_reports_the_rest(tmp_path):
    records = [{"id": record_id("t", r["text"]), "text": r["text"]} for r in RECORDS]
    rows = [
        ("Annuncio numero 0, però", "1", "ann"),
        ("ANNUNCIO  numero 0, però", "1", "ann"),  # the same text for a reader
        ("Annuncio numero 0, però", "0", "ann"),
        ("Annuncio numero 0, però", "0", "bob"),
        ("Annuncio numero 1, però", "", "ann"),
        ("Annuncio numero 2, però", "7", "ann"),
        ("Altro", "1", "ann"),
    ]
    path = tmp_path / "old.csv"
    pd.DataFrame(rows, columns=["text", "label", "who"]).to_csv(path, index=False)
    options = {"task": "t", "annotator_column": "who", "task_labels": ["yes", "no"], "mapping": {"1": "yes", "0": "no"}}
    report = exchange.import_labels(path, tmp_path / "logs", records, **options)
    assert report == {
        "rows": 7,
        "taken": 2,
        "written": [(tmp_path / "logs", name, records[0]["id"]) for name in ("ann", "bob")],
        "corrected": 0,
        "empty": [6],
        "several": [],
        "unmatched": [8],
        "not_in_task": [7],
        "duplicates": [3],
        "conflicts": [4],
        "known": 0,
        "unknown_labels": {"7": 1},
        "annotators": 2,
        "remarks": [],
    }
    state = annotations(tmp_path / "logs")
    assert {name: own[records[0]["id"]]["label"] for name, own in state.items()} == {"ann": "yes", "bob": "no"}
    size = (tmp_path / "logs/ann.jsonl").stat().st_size
    again = exchange.import_labels(path, tmp_path / "logs", records, **options)
    assert (tmp_path / "logs/ann.jsonl").stat().st_size == size
    assert again["taken"] == 0 and again["known"] == 2 and len(events(tmp_path / "logs")) == 2
    assert "left out, label not in the task ('7' 1×): 1 (row 7)" in exchange.describe(report)


@pytest.mark.parametrize(
    ("label", "options", "remark"),
    [
        ("Yes", {}, "label: 'Yes' (1 row): read as 'yes'."),
        ("yes\u200b", {}, "label: 'yes\\u200b' (1 row): read as 'yes'."),
        ("no\u00a0", {}, "label: 'no\\xa0' (1 row): read as 'no'."),
        ("nan", {}, "label: 'nan' (1 row): read as missing."),
        ("ja", {"mapping": {"ja": "yes"}}, None),
        (" ja ", {"mapping": {"ja": "yes"}}, None),
    ],
)
def test_an_import_says_what_it_merged(tmp_path, label, options, remark):
    (tmp_path / "in.csv").write_text(f"id,label\nr0,yes\nr1,{label}\nr2,no\n")
    options |= {"id_column": "id", "task_labels": ["yes", "no"]}
    report = exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, "t", **options)
    assert report["remarks"] == ([remark] if remark else []) and report["taken"] == 3 - ("missing" in (remark or ""))


def test_an_import_is_compared_with_what_the_log_says_now(tmp_path):
    def load(label):
        (tmp_path / "in.csv").write_text(f"id,label\nr0,{label}\n")
        report = exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, "t", id_column="id")
        return report["taken"], report["corrected"], report["known"]

    assert load("a") == (1, 0, 0) and load("a") == (0, 0, 1)
    for label in "babaab":
        before = settled_labels(tmp_path / "logs")["r0"]
        assert load(label) == ((0, 0, 1) if label == before else (1, 1, 0))
        assert settled_labels(tmp_path / "logs") == {"r0": label} and load(label) == (0, 0, 1)
    write(tmp_path / "logs", ("imported", "undo", "r0"), ("imported", "skip", "r0"))
    assert load("b") == (1, 1, 0) and settled_labels(tmp_path / "logs") == {"r0": "b"} and load("b") == (0, 0, 1)
    report = exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, "t", id_column="id", annotator="x")
    assert "of these" not in "".join(exchange.describe(report))
    (tmp_path / "in.csv").write_text("id,label\nr0,c\n")
    report = exchange.import_labels(tmp_path / "in.csv", tmp_path / "logs", RECORDS, "t", id_column="id")
    assert "of these, instead of another answer in the logs: 1" in exchange.describe(report)


def test_what_is_imported_into_two_copies_counts_once_in_both(tmp_path):
    (tmp_path / "in.csv").write_text("id,label\nr0,a\n")
    for copy in ("one", "two"):
        exchange.import_labels(tmp_path / "in.csv", tmp_path / copy, RECORDS, "t", id_column="id")
    shutil.copy(tmp_path / "two/imported.jsonl", tmp_path / "one/copy.jsonl")
    assert len(readable(tmp_path / "one")) == 1


def test_what_two_copies_say_by_now_their_logs_say_together(tmp_path, monkeypatch):
    """Whatever was imported into them before, in whichever order; a correction stays one where the old file comes later."""
    courses = {"a": "a", "b": "b", "ba": "a", "ab": "b", "aba": "a", "bab": "b", "abcb": "b", "cba": "a"}
    for number, (one, two) in enumerate([*itertools.product(courses, repeat=2)]):
        clock = itertools.count(1)
        monkeypatch.setattr(time, "time", lambda clock=clock: float(next(clock)))
        for copy, course in (("one", one), ("two", two)):
            for label in course:
                (tmp_path / "in.csv").write_text(f"id,label\nr0,{label}\n")
                exchange.import_labels(tmp_path / "in.csv", tmp_path / f"{number} {copy}", RECORDS, "t", id_column="id")
        together = annotations(events(tmp_path / f"{number} one", tmp_path / f"{number} two"))["imported"]["r0"][
            "label"
        ]
        if courses[one] == courses[two]:
            assert together == courses[one], (one, two)
        if two == one[0]:
            assert together == courses[one], (one, two)


def test_an_import_by_id_reads_numbers_and_truth_values_as_01_does(tmp_path):
    pd.DataFrame({"key": ["r0", "r1"], "label": [1.0, 0.5], "who": [2**60 + 1, 7]}).to_parquet(tmp_path / "old.parquet")
    options = {"task": "t", "id_column": "key", "annotator_column": "who"}
    exchange.import_labels(tmp_path / "old.parquet", tmp_path / "logs", RECORDS, **options)
    state = annotations(tmp_path / "logs")
    assert state[str(2**60 + 1)]["r0"]["label"] == "1" and state["7"]["r1"]["label"] == "0.5"
    pd.DataFrame({"key": ["r0"], "label": [True]}).to_parquet(tmp_path / "old.parquet")
    exchange.import_labels(tmp_path / "old.parquet", tmp_path / "more", RECORDS, "t", id_column="key")
    assert settled_labels(tmp_path / "more") == {"r0": "true"}  # as 01 reads it


def test_an_import_reads_lists_truth_values_look_alikes_and_rows_as_01_does(tmp_path):
    labels = [["yes"], ["no"], ["yes", "no"], [], ["YES\u200b"]]
    table = pd.DataFrame({"key": [f"r{i % 4}" for i in range(5)], "label": labels, "who": list("aaaab")})
    table.to_parquet(tmp_path / "old.parquet")
    options = {"task": "t", "id_column": "key", "annotator_column": "who", "task_labels": ["yes", "no"]}
    report = exchange.import_labels(tmp_path / "old.parquet", tmp_path / "logs", RECORDS, **options)
    assert (report["taken"], report["several"], report["empty"]) == (3, [3], [4])
    assert "left out, more than one label in the cell: 1 (row 3)" in exchange.describe(report)
    (tmp_path / "old.jsonl").write_text('{"key": "r0", "label": true}\n\n{"key": "r1", "label": "maybe"}\n')
    report = exchange.import_labels(
        tmp_path / "old.jsonl", tmp_path / "more", RECORDS, "t", id_column="key", task_labels=["True", "False"]
    )
    assert report["not_in_task"] == [3] and report["unknown_labels"] == {"maybe": 1}
    assert settled_labels(tmp_path / "more") == {"r0": "True"}
    blank = f"{tmp_path / 'old.jsonl'}: 1 blank line is no row and was skipped."
    assert report["remarks"] == [blank, "label: 'true' (1 row): read as 'True'."]


def test_an_import_finds_columns_however_a_parameter_spells_them(tmp_path):
    (tmp_path / "old.csv").write_text("key,età,chi\nr0,yes,ann\nr1,no,ann\n", encoding="utf-8")
    options = {"id_column": " key", "label_column": "eta\u0300", "annotator_column": "chi "}
    report = exchange.import_labels(tmp_path / "old.csv", tmp_path / "logs", RECORDS, "t", **options)
    assert (report["taken"], report["annotators"]) == (2, 1)


CASE = SHARED.parent / "cases" / "labels_list.parquet"


@pytest.mark.skipif(not CASE.exists(), reason="the folder of small inputs that went wrong is not there")
def test_the_case_of_labels_in_lists_gives_what_is_right(tmp_path):
    texts = pd.read_parquet(CASE).text
    records = [{"id": record_id("t", text), "text": text} for text in texts]
    report = exchange.import_labels(CASE, tmp_path, records, "t")
    assert report["taken"] == len(texts) - 1 and len(report["several"]) == 1


def test_an_import_takes_the_ids_of_the_data_and_an_export_has_them(tmp_path):
    records = [row | {"own_id": f"tweet {i}"} for i, row in enumerate(RECORDS)]
    (tmp_path / "old.csv").write_text("key,label\n tweet  0,a\nr1,b\ntweet 9,a\n")
    report = exchange.import_labels(tmp_path / "old.csv", tmp_path / "logs", records, "t", id_column="key")
    assert report["taken"] == 2 and report["unmatched"] == [4]
    table = exchange.export(tmp_path / "logs", tmp_path / "out.csv", records)
    assert table.own_id.tolist() == ["tweet 0", "tweet 1"] and table.id.tolist() == ["r0", "r1"]
    again = exchange.import_labels(tmp_path / "out.csv", tmp_path / "again", records, "t", id_column="own_id")
    assert again["taken"] == 2 and settled_labels(tmp_path / "again") == {"r0": "a", "r1": "b"}


def test_every_own_id_of_a_text_that_stands_twice_is_taken_and_given_back(tmp_path):
    table = pd.DataFrame({"key": ["k1", "k2", "k3"], "text": ["Una persona.", "una  persona.", "Un autista."]})
    table.to_csv(tmp_path / "a.csv", index=False)
    params = {"task": "t", "data_path": str(tmp_path / "a.csv"), "text_column": "text", "label_column": ""}
    params |= {"labels": ["a", "b"], "group_columns": [], "id_column": "key", "split_column": ""}
    records = drop_exact_duplicates(tables.to_records(tables.read_table(params["data_path"], "text"), params))
    assert [own_ids(r) for r in records] == [["k1", "k2"], ["k3"]]
    for key, label in (("k1", "a"), ("k2", "b")):  # each of them finds the record
        (tmp_path / f"{key}.csv").write_text(f"key,label\n{key},{label}\n")
        logs = tmp_path / key
        assert exchange.import_labels(tmp_path / f"{key}.csv", logs, records, "t", id_column="key")["taken"] == 1
        assert settled_labels(logs) == {records[0]["id"]: label}
    exported = exchange.export(logs, tmp_path / "out.csv", records)
    assert exported[["own_id", "label"]].values.tolist() == [["k1", "b"], ["k2", "b"]]
    joined = table.merge(pd.read_csv(tmp_path / "out.csv"), left_on="key", right_on="own_id", how="left")
    assert joined["label"].fillna("").tolist() == ["b", "b", ""]
    again = exchange.import_labels(tmp_path / "out.csv", tmp_path / "again", records, "t", id_column="own_id")
    assert (again["taken"], again["duplicates"]) == (1, [3])


def test_imports_that_cannot_be_meant(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("text,label,who\nAltro,a,ann\n")
    with pytest.raises(UserError, match="no column 'klass'"):
        exchange.import_labels(path, tmp_path, RECORDS, "t", "klass")
    with pytest.raises(UserError, match="none of its 1 rows matches one of the 4 records"):
        exchange.import_labels(path, tmp_path, RECORDS, "t")
    path.write_text("id,label,who\nr1,a,ann\nr2,a,../x\n")
    with pytest.raises(UserError, match="names a file"):
        exchange.import_labels(path, tmp_path / "logs", RECORDS, "t", id_column="id", annotator_column="who")
    assert not (tmp_path / "logs").exists()  # checked before the first is written
    path.write_bytes(b"id,label\nr1,\x81\n")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        exchange.import_labels(path, tmp_path, RECORDS, "t", id_column="id")


def test_settled_takes_the_adjudicator_then_the_majority_and_no_tie(tmp_path):
    for name, three in {"a": "xxy", "b": "xyy", "c": "xy-"}.items():
        for record, label in zip("123", three, strict=True):
            if label != "-":
                append(tmp_path, name, "label", record, label=label)
    append(tmp_path, "a", "label", "4", label="x")
    append(tmp_path, "b", "label", "4", label="y")
    append(tmp_path, "b", "label", "5", label="")
    assert settled_labels(tmp_path) == {"1": "x", "2": "y", "3": "y", "5": ""}
    append(tmp_path, ADJUDICATOR, "label", "4", label="y", reason="rule 3")
    assert settled_labels(tmp_path)["4"] == "y"


def test_ties_are_refused_where_a_label_is_needed(tmp_path):
    for name, label in (("anna", "good"), ("bruno", "bad")):
        log.append(tmp_path, name, "label", "a", label=label)
    exchange.refuse_ties(tmp_path, {"b"})
    with pytest.raises(UserError, match=r"1 records have as many votes .* --annotator NAME"):
        exchange.refuse_ties(tmp_path, {"a", "b"})
    log.append(tmp_path, "bruno", "label", "a", label="good")
    exchange.refuse_ties(tmp_path, {"a"})


def test_a_hidden_file_is_no_log(tmp_path):
    log.append(tmp_path, "anna", "label", "r1", label="good")
    line = (tmp_path / "anna.jsonl").read_text()
    (tmp_path / ".adjudicator.jsonl").write_text(line.replace("good", "bad").replace("anna", "adjudicator"))
    (tmp_path / ".#anna.jsonl").symlink_to("nobody@nowhere")  # as Emacs locks a file
    assert log.annotations(tmp_path).keys() == {"anna"}
    log.refuse_look_alikes(tmp_path, ["bruno"])
    assert log.place_of(tmp_path, "anna", "r1", "good").endswith("anna.jsonl, line 1")
