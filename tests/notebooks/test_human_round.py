"""A table without labels, labelled by a person through the panels: the run stops at every turn of hers and goes on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import files, outputs, pipeline, run, text
from helpers.data.records import asks_people, record_id
from helpers.labels import log, seats
from helpers.labels.panel.panel import Panel
from helpers.labels.seats import pending
from helpers.query.rounds import verdict
from tests.project import ambo_run, assert_quiet, code_cells, finish, new_project

CLASSES = ["good", "bad"]


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows):
    folder = new_project(tmp_path_factory.mktemp("project"))
    pd.DataFrame(rows)[["text"]].to_csv(folder / "raw.csv", index=False)
    return folder


def ambo(project, model, code=0):
    """What the same command prints, every time, and that it ends with this exit code."""
    settings = {
        "data_path": "raw.csv",
        "label_column": "''",
        "labels": "[good, bad]",
        "labeller": "human",
        "annotators": "[anna, bruno]",
        "overlap_k": "2",
        "overlap_share": "0.25",
        "learner": "probe",
        "model": str(model),
        "bidirectional": "false",
        "epochs": "2",
        "rounds": "1",
        "batch_labels": "8",
        "seed_size": "12",
        "test_size": "20",
        "validation_size": "12",
        "bootstrap": "100",
        "near_duplicate": "0.9",
        "use_synthetic": "false",
    }
    return finish(project, ambo_run("hers", settings, "csv", "--stages", "01,03,04"), code)[0]


def label(project, stage, folder, rows, seats):
    """Each annotator clicks through a panel; returns how many labels were given."""
    given = 0
    texts = {r["text"]: r["label"] for r in rows}
    for name, records in seats.items():
        panel = Panel(records, CLASSES, folder=project / "outputs/csv/hers" / stage / folder, annotator=name)
        for record in records:
            panel.buttons[texts[record["text"]]].click()
            given += 1
    return given


def test_the_run_waits_for_people_and_goes_on_where_it_stopped(project, tiny_llama, rows):
    folder = project / "outputs/csv/hers"
    out = ambo(project, tiny_llama, 3)
    assert "01_seed_curation: waits for labels; open" in out
    manifest = run.read_manifest(folder / "01_seed_curation")
    assert manifest["status"] == "awaiting_labels"
    assert manifest["command"].startswith("ambo run --task csv --profile demo -p data_path raw.csv -p label_column")
    assert manifest["command"].endswith("--stages 01,03,04 --run-id hers")
    assert (folder / "01_seed_curation/01_seed_curation.ipynb").exists()
    asked = files.read_json(folder / "01_seed_curation/waiting.json")
    assert sum(map(len, asked.values())) == 12 + 20 + 12
    seen = asked
    by_id = {record_id("csv", text.clean(r["text"])): r for r in rows}

    def records(asked):
        return {name: [by_id[i] | {"id": i} for i in ids] for name, ids in asked.items()}

    assert label(project, "01_seed_curation", "labels", rows, records(asked)) == 44

    out = ambo(project, tiny_llama, 3)
    assert "03_active_learning: waits for labels; open" in out
    history = files.read_jsonl(folder / "03_active_learning/rounds.jsonl")
    assert len(history) == 1 and len(history[0]["picks"]) == 8
    asked = files.read_json(folder / "03_active_learning/waiting.json")
    assert sum(map(len, asked.values())) == 10  # two of the eight go to both people
    logs = folder / "03_active_learning/labels/human"
    label(project, "03_active_learning", "labels/human", rows, records({"anna": asked["anna"]}))
    assert pending(logs, asked) == {"anna": [], "bruno": asked["bruno"]}
    label(project, "03_active_learning", "labels/human", rows, records({"bruno": asked["bruno"]}))

    assert "QLoRA detector" in ambo(project, tiny_llama)
    again = files.read_jsonl(folder / "03_active_learning/rounds.jsonl")
    assert again[0] == history[0] and len(again) == 2 and again[1]["labels"] == 20
    assert len(files.read_jsonl(folder / "03_active_learning/labelled.jsonl")) == 20
    assert run.read_manifest(folder / "03_active_learning")["quantization"] == "nf4"
    before = log.events(logs)
    first = folder / "01_seed_curation"
    assert {i for ids in seen.values() for i in ids} == set(files.read_json(first / "asked.json"))
    assert "outputs/csv/hers/01_seed_curation/labels" in run.read_manifest(first)["inputs"]
    assert ambo(project, tiny_llama).count("unchanged, skipped") == 3
    assert log.events(logs) == before
    assert "qlora" in again[1] and "qlora" not in again[0]  # trained once, at the end
    corrected, label_now = asked["anna"][0], log.annotations(logs)["anna"][asked["anna"][0]]["label"]
    other = CLASSES[label_now == CLASSES[0]]
    for name in {"anna", *(["bruno"] if corrected in asked["bruno"] else [])}:
        log.append(logs, name, "label", corrected, label=other)
    out = ambo(project, tiny_llama)
    assert "labels/human changed; running" in out and "trained once more: labels have changed since" in out
    training = {r["id"]: r["label"] for r in files.read_jsonl(folder / "03_active_learning/training.jsonl")}
    assert training[corrected] == other and len(training) == 20
    assert ambo(project, tiny_llama).count("unchanged, skipped") == 3
    shown = (folder / "03_active_learning/03_active_learning.ipynb").read_text()
    assert "that gain most from one more label" in shown and "anna: " in shown
    assert_quiet(folder)


def test_without_labels_and_without_people_one_sentence_says_what_to_do(project, tiny_llama):
    settings = {"data_path": "raw.csv", "label_column": "''", "labels": "[good, bad]"}
    words = ambo_run("none", settings | {"seed_size": 12, "test_size": 20, "validation_size": 12})
    assert "None of the 120 texts has a label: name the column in label_column" in finish(project, words, 2)[1]


def test_synthetic_rows_are_accepted_mended_or_rejected_by_a_person(project, tiny_llama, rows, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(project))
    some = pd.DataFrame([r | {"text": f"{r['text']} She gave it to him."} for r in rows])
    some[["text", "label"]].to_csv(project / "labelled.csv", index=False)
    settings = {
        "data_path": "labelled.csv",
        "language": "en",
        "methods": "swap",
        "review": "3",
        "model": str(tiny_llama),
    }
    settings |= {"bidirectional": "false", "seed_size": "20", "near_duplicate": "0.95"}
    words = ambo_run("look", settings, "csv", "--stages", "01,02")
    finish(project, words, 3)
    folder = project / "outputs/csv/look/02_synthetic_expansion"
    rows = {r["id"]: r for r in files.read_jsonl(folder / "synthetic.jsonl")}
    asked = files.read_json(folder / "waiting.json")["me"]
    records = [{"id": i, "text": rows[i]["text"], "proposal": rows[i]["text"]} for i in asked]
    panel = Panel(records, kind="edit", folder=folder / "labels", annotator="me")
    panel.buttons["reject"].click()
    panel.now.answer.area.value = mended = "Whoever signed the letter had read no word of it before."
    panel.buttons["accept"].click()
    seeds = {r["id"]: r["text"] for r in files.read_jsonl(folder.parent / "01_seed_curation/seed.jsonl")}
    panel.now.answer.area.value = seeds[rows[asked[2]]["parent_id"]]  # back to the row it was made from: there already
    panel.buttons["accept"].click()
    finish(project, words)
    left = {r["id"]: r["text"] for r in files.read_jsonl(folder / "synthetic.jsonl")}
    assert left.keys() - rows.keys() == {record_id("csv", mended)} and mended in left.values()
    assert rows.keys() - left.keys() == set(asked)
    params = run.read_manifest(folder)["parameters"]
    assert not pipeline.why_due(folder, params)
    log.append(folder / "labels", "me", "label", asked[0], label="She has thought better of it.")  # in the panel, later
    assert pipeline.why_due(folder, params) == "outputs/csv/look/02_synthetic_expansion/labels changed"


def test_the_panel_of_a_second_tab_goes_on_from_the_round_that_the_first_has_chosen(tmp_path):
    """`next_batch` of notebook 03 reads the rounds on the disk before it thinks of a new one."""
    source = next(cell for cell in code_cells("03_active_learning") if "def next_batch(" in cell)
    names, suggestions = {"run": run, "seats": seats}, {}
    exec(source, names)
    params = {"strategy": "bait", "rounds": 2}
    here = run.Run("03_active_learning", params, tmp_path / "outputs/t/r/03_active_learning")
    first = {"strategy": "bait", "round": 0, "picks": ["a", "b"]}
    second = {"strategy": "bait", "round": 1, "picks": ["c", "d"], "suggested": {"c": "good"}, "confidence": {"c": 0.6}}
    for row in (first, second):  # the other tab has recorded both
        here.add_round(row)
    history = [first]
    data = SimpleNamespace(texts={i: {"id": i, "text": i} for i in "abcd"}, batches=2)
    people = {"annotators": ["anna"], "overlap_k": 1, "overlap_share": 0.0, "repeat_share": 0.0, "seed": 1}
    rows = names["next_batch"]({}, history, None, None, data, here.folder, here, people, suggestions)
    assert suggestions == {
        "c": {"label": "good", "confidence": 0.6, "kinds": ""}
    }  # the panel that is open has them too
    assert sorted(r["id"] for r in rows) == ["c", "d"] and history == [first, second] == here.read_rounds()
    assert names["next_batch"]({}, history, None, None, data, here.folder, here, people, suggestions) == []


def test_a_rule_that_stops_early_asks_for_no_more_labels(tmp_path):
    names = {"seats": seats, "asks_people": asks_people}
    exec(next(cell for cell in code_cells("03_active_learning") if "def request_labels(" in cell), names)
    people = {"annotators": ["anna"], "overlap_k": 1, "overlap_share": 0.0, "repeat_share": 0.0, "seed": 1}
    rounds = [{"round": 0, "picks": ["a"], "stop": ""}, {"round": 1, "picks": [], "stop": "Nothing was gained."}]
    data = SimpleNamespace(batches=3)
    asked = names["request_labels"](rounds[:1], tmp_path, data, "human", None, people)
    assert asked == {"anna": ["a"]}
    assert names["request_labels"](rounds, tmp_path, data, "human", None, people) == {}
    data.batches = 1  # the budget: a label taken back is asked for again
    assert names["request_labels"](rounds, tmp_path, data, "human", None, people) == asked


def test_a_pool_that_is_used_up_says_so():
    """`run_round` of notebook 03."""
    names = {
        "train_and_score": lambda *_: {"macro_f1": 0.5, "low": 0.4, "high": 0.6},
        "stop_reason": lambda *_: "",
        "strategy_inputs": lambda *_: {},
        "select": lambda name, count, k, seed, **_: range(min(count, k)),
        "verdict": verdict,
        "np": np,
    }
    for part in ("def open_texts(", "def run_round("):
        exec(next(cell for cell in code_cells("03_active_learning") if part in cell), names)
    pool = [{"id": i, "text": i} for i in "abcd"]
    data = SimpleNamespace(pool=pool, kept={"d"}, batches=4, synthetic=[], validation=[])
    params = {"seed": 1, "pool_limit": 100, "batch_labels": 10}
    finished = []
    for _ in range(2):
        finished.append(names["run_round"]("random", finished, [], None, data, 40, params))
    assert finished[0]["picks"] == ["a", "b", "c"] and not finished[0]["stop"]
    assert finished[0]["advice"] == finished[1]["advice"] == ""
    assert (
        not finished[1]["picks"] and finished[1]["stop"] == "The pool is used up: all of its 4 texts have been chosen."
    )


def test_people_are_not_asked_again_when_the_data_change(project, tiny_llama, rows):
    """Goes on from the finished run: a tenth of the texts goes, the sets are drawn anew, every label stays."""
    folder = project / "outputs/csv/hers"
    logs = {p: p.read_bytes() for p in folder.glob("0*/labels/**/*.jsonl")}
    labelled = {e["id"] for p in logs for e in files.read_jsonl(p)}
    table = pd.read_csv(project / "raw.csv")
    table[table.index % 10 != 0].to_csv(project / "raw.csv", index=False)
    by_id = {record_id("csv", text.clean(r["text"])): r for r in rows}
    for stage, place in (("01_seed_curation", "labels"), ("03_active_learning", "labels/human")):
        out = ambo(project, tiny_llama, None)
        if f"{stage}: waits for labels" not in out:
            continue
        asked = files.read_json(folder / stage / "waiting.json")
        assert not {i for ids in asked.values() for i in ids} & labelled
        seats = {name: [by_id[i] | {"id": i} for i in ids] for name, ids in asked.items()}
        label(project, stage, place, rows, seats)
    out = ambo(project, tiny_llama, None)
    assert "QLoRA detector" in out
    loop = (folder / "03_active_learning/03_active_learning.ipynb").read_text()
    assert "The selection starts anew" in loop and "labels of before are used" in loop
    training = {r["id"] for r in files.read_jsonl(folder / "03_active_learning/training.jsonl")}
    pool = {r["id"] for r in files.read_jsonl(folder / "01_seed_curation/pool.jsonl")}
    assert labelled & pool <= training
    assert all(p.read_bytes().startswith(before) for p, before in logs.items())


def test_a_text_that_was_skipped_in_01_may_be_labelled_later(project, rows):
    settings = {"data_path": "raw.csv", "label_column": "''", "labels": "[good, bad]", "labeller": "human"}
    settings |= {"seed_size": "8", "test_size": "8", "validation_size": "8", "near_duplicate": "0.9"}
    words = ambo_run("skipping", settings, "csv", "--stages", "01")
    finish(project, words, 3)
    folder = project / "outputs/csv/skipping/01_seed_curation"
    truth = {record_id("csv", text.clean(r["text"])): r for r in rows}
    (asked,) = files.read_json(folder / "waiting.json").values()
    for i in asked:
        last = i == asked[-1]
        log.append(folder / "labels", "me", *(("skip", i) if last else ("label", i)), label=truth[i]["label"])
    finish(project, words)
    left = files.read_jsonl(folder / "skipped.jsonl")
    assert [r["id"] for r in left] == [asked[-1]] and "label" not in left[0]
    sets = [files.read_jsonl(folder / f"{name}.jsonl") for name in ("seed", "validation", "test")]
    assert sum(map(len, sets)) == len(asked) - 1
    run_of = ["--task", "csv", "--run-id", "skipping"]
    exported = [*ambo_run("x", {}, "csv")[:3], "labels", "export", "--to", "labels.csv", *run_of]
    _, err = finish(project, exported)
    table = pd.read_csv(project / "labels.csv", keep_default_na=False)
    assert "not among the run's" not in err and (table["text"] != "").all() and list(table["count"]).count(0) == 1
    pd.DataFrame([truth[asked[-1]]])[["text", "label"]].to_csv(project / "late.csv", index=False)
    finish(project, [*exported[:3], "labels", "import", "late.csv", "--annotator", "me", *run_of])
    finish(project, words)
    assert files.read_jsonl(folder / "skipped.jsonl") == []
    sets = [files.read_jsonl(folder / f"{name}.jsonl") for name in ("seed", "validation", "test")]
    assert sum(map(len, sets)) == len(asked)


def test_a_class_that_is_renamed_is_mended_by_an_import(project, rows):
    """As where a person changes `labels` in the open notebook: what is there is put aside, and the logs have the old name."""
    settings = {"data_path": "raw.csv", "label_column": "''", "labels": "[good, bad]", "labeller": "human"}
    settings |= {"seed_size": "8", "test_size": "8", "validation_size": "8", "near_duplicate": "0.9"}
    folder = project / "outputs/csv/renaming/01_seed_curation"
    finish(project, ambo_run("renaming", settings, "csv", "--stages", "01"), 3)
    truth = {record_id("csv", text.clean(r["text"])): r for r in rows}
    (asked,) = files.read_json(folder / "waiting.json").values()
    for i in asked:
        log.append(folder / "labels", "me", "label", i, label=truth[i]["label"])
    outputs.put_results_aside(folder)
    words = ambo_run("renaming", settings | {"labels": "[good, biased]"}, "csv", "--stages", "01")
    _, err = finish(project, words, 2)
    assert "'bad', which is not one of good, biased" in err and "ambo labels import" in err
    run_of = ["--task", "csv", "--run-id", "renaming"]
    finish(project, [*words[:3], "labels", "export", "--to", "named.csv", *run_of])
    named = ["named.csv", "--annotator", "me", "--rename", "bad=biased"]
    finish(project, [*words[:3], "labels", "import", *named, *run_of])
    finish(project, words)
    labels = {r["label"] for name in ("seed", "validation", "test") for r in files.read_jsonl(folder / f"{name}.jsonl")}
    assert labels == {"good", "biased"}
