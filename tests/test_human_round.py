"""A table without labels, labelled by a person through the panels: the run stops at every turn of hers and goes on."""

import json
import os
import subprocess

import pandas as pd
import pytest
from conftest import ROOT, ambo_run

from helpers import data, labels, run
from helpers.panel import Panel

CLASSES = ["good", "bad"]


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "params"):
        (folder / name).symlink_to(ROOT / name)
    pd.DataFrame(rows)[["text"]].to_csv(folder / "raw.csv", index=False)
    return folder


def ambo(project, model):
    """Exit code and output of the same command, every time."""
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
        "bootstrap": "20",
        "near_duplicate": "0.9",
    }
    words = ambo_run("hers", settings)
    done = subprocess.run(words, env={**os.environ, "AMBO_ROOT": str(project)}, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


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
    code, out = ambo(project, tiny_llama)
    assert code == 3 and "01_seed_curation: waits for labels; open" in out
    assert run.read_manifest(folder / "01_seed_curation")["status"] == "awaiting_labels"
    assert (folder / "01_seed_curation/01_seed_curation.ipynb").exists()
    asked = run.read_json(folder / "01_seed_curation/waiting.json")
    assert sum(map(len, asked.values())) == 12 + 20 + 12
    by_id = {data.record_id("csv", data.clean(r["text"])): r for r in rows}

    def records(asked):
        return {name: [by_id[i] | {"id": i} for i in ids] for name, ids in asked.items()}

    assert label(project, "01_seed_curation", "labels", rows, records(asked)) == 44

    code, out = ambo(project, tiny_llama)
    assert code == 3 and "03_active_learning: waits for labels; open" in out
    history = run.read_jsonl(folder / "03_active_learning/rounds.jsonl")
    assert len(history) == 1 and len(history[0]["picks"]) == 8
    asked = run.read_json(folder / "03_active_learning/waiting.json")
    assert sum(map(len, asked.values())) == 10  # two of the eight go to both people
    label(project, "03_active_learning", "labels/human", rows, records({"anna": asked["anna"]}))
    code, out = ambo(project, tiny_llama)
    assert code == 3, out
    assert run.read_json(folder / "03_active_learning/waiting.json") == {"anna": [], "bruno": asked["bruno"]}
    label(project, "03_active_learning", "labels/human", rows, records({"bruno": asked["bruno"]}))

    code, out = ambo(project, tiny_llama)
    assert code == 0 and "QLoRA detector" in out
    again = run.read_jsonl(folder / "03_active_learning/rounds.jsonl")
    assert again[0] == history[0] and len(again) == 2 and again[1]["labels"] == 20
    assert len(run.read_jsonl(folder / "03_active_learning/labelled.jsonl")) == 20
    assert run.read_manifest(folder / "03_active_learning")["quantization"] == "nf4"
    before = labels.events(folder / "03_active_learning/labels/human")
    assert ambo(project, tiny_llama)[1].count("unchanged, skipped") == 4
    assert labels.events(folder / "03_active_learning/labels/human") == before
    assert "qlora" in again[1] and "qlora" not in again[0]  # trained once, at the end
    shown = (folder / "03_active_learning/03_active_learning.ipynb").read_text()
    assert "that gain most from one more label" in shown and "anna: " in shown
    for path in folder.glob("*/*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert all(o.get("name") != "stderr" and o["output_type"] != "error" for o in cell.get("outputs", []))


def test_without_labels_and_without_people_one_sentence_says_what_to_do(project, tiny_llama):
    settings = {"data_path": "raw.csv", "label_column": "''", "labels": "[good, bad]"}
    words = ambo_run("none", settings | {"seed_size": 12, "test_size": 20, "validation_size": 12})
    done = subprocess.run(words, env={**os.environ, "AMBO_ROOT": str(project)}, capture_output=True, text=True)
    assert done.returncode == 2 and "44 of the 44 seed and evaluation rows have no label" in done.stderr


def test_synthetic_rows_are_accepted_or_rejected_by_a_person(project):
    words = ambo_run("look", {"review": 3, "generated": 50}, "italian_jobs", "--stages", "01,02")

    def ambo():
        environment = os.environ | {"AMBO_ROOT": str(project)}
        return subprocess.run(words, env=environment, capture_output=True, text=True).returncode

    folder = project / "outputs/italian_jobs/look/02_synthetic_expansion"
    assert ambo() == 3
    rows = {r["id"]: r for r in run.read_jsonl(folder / "synthetic.jsonl")}
    asked = run.read_json(folder / "waiting.json")["me"]
    records = [{"id": i, "text": rows[i]["text"], "proposal": rows[i]["text"]} for i in asked]
    panel = Panel(records, kind="edit", folder=folder / "labels", annotator="me")
    for answer in ("reject", "accept", "accept"):
        panel.buttons[answer].click()
    assert ambo() == 0
    assert {r["id"] for r in run.read_jsonl(folder / "synthetic.jsonl")} == rows.keys() - {asked[0]}
