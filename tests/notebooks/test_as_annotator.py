"""A model that labels what it may: the promise in 03, people's labels beside it, and the comparison in 04."""

import json
import random

import pandas as pd

from helpers import files
from helpers.data.records import record_id
from helpers.labels import log
from tests.project import ambo_run, assert_quiet, finish, new_project

WORDS = {"good": ["kind", "warm", "gentle", "fair"], "bad": ["cruel", "cold", "rude", "mean"]}


def table(count):
    """Texts that any learner can tell apart, each with what three people said of it, one of them often wrong."""
    rng, rows = random.Random(0), []
    for i in range(count):
        label = ("good", "bad")[i % 2]
        other = ("bad", "good")[i % 2]
        text = f"The {rng.choice(WORDS[label])} and {rng.choice(WORDS[label])} answer number {i} was sent by mail."
        people = {"ann": label, "bob": label, "eve": other if rng.random() < 0.3 else label}
        rows.append({"text": text, "label": label, "people": json.dumps(people), "group": "ab"[i % 3 == 0]})
    return pd.DataFrame(rows)


def test_the_model_labels_what_it_may_and_people_the_rest(tmp_path, tiny_llama):
    project = new_project(tmp_path)
    table(240).to_csv(project / "said.csv", index=False)
    settings = {"data_path": "said.csv", "group_columns": "[group]", "annotations_column": "people"}
    settings |= {"labeller": "model", "promise": "0.9", "learner": "probe", "rounds": "0", "seed_size": "40"}
    settings |= {"model": str(tiny_llama), "bidirectional": "false", "epochs": "8", "near_duplicate": "0.95"}
    settings |= {"test_size": "40", "validation_size": "60", "bootstrap": "100", "use_synthetic": "false"}
    words = ambo_run("alone", settings | {"label_seconds": "20", "hour_price": "30"}, "csv", "--stages", "01,03,04")
    out, _ = finish(project, words)
    folder = project / "outputs/csv/alone"
    own = files.read_jsonl(folder / "03_active_learning/model_labels.jsonl")
    pool = files.read_jsonl(folder / "01_seed_curation/pool.jsonl")
    assert f"The model labels {len(own)} of {len(pool)} texts; from a confidence of" in out and own
    assert {r["labelled_by"] for r in own} == {"model"} and len(own) <= len(pool)
    logs = folder / "03_active_learning/labels"
    (name,) = log.annotations(logs / "model")
    assert name == "model" and not list((logs / "human").iterdir())
    trained = files.read_jsonl(folder / "03_active_learning/training.jsonl")
    assert not {r["id"] for r in own} & {r["id"] for r in trained} and len(trained) == 40
    truth = {record_id("csv", r.text): r.label for r in table(240).itertuples()}
    right = sum(truth[r["id"]] == r["label"] for r in own)
    assert right / len(own) > 0.8  # promised are 0.9, and 60 labelled rows leave room

    compared = pd.read_csv(folder / "04_bias_evaluation/annotators.csv").set_index("measure")
    people = compared.people["right by the majority of the others"]
    assert 0.8 < people < 1  # one of three is wrong in three of ten
    shown = (folder / "04_bias_evaluation/report.html").read_text()
    assert "Held against the majority of the other annotators" in shown and "What it may label alone" in shown
    saved = pd.read_csv(folder / "04_bias_evaluation/promises.csv")
    assert list(saved.promised) == [0.8, 0.9, 0.95] and saved.share_answered[0] > 0
    assert "hours saved" in shown and "cost saved" in shown
    assert_quiet(folder)

    run_of = ["--task", "csv", "--run-id", "alone"]
    one = own[0] | {"label": "good" if own[0]["label"] == "bad" else "bad"}
    pd.DataFrame([one])[["text", "label"]].to_csv(project / "hers.csv", index=False)
    imported, _ = finish(project, [*words[:3], "labels", "import", "hers.csv", "--annotator", "me", *run_of])
    assert "for the pool of 03, which is due again: 1" in imported
    out, _ = finish(project, words)
    again = files.read_jsonl(folder / "03_active_learning/model_labels.jsonl")
    assert one["id"] not in {r["id"] for r in again}  # what a person has labelled is hers
    assert log.annotations(logs / "model")["model"][one["id"]]["label"] is None
    trained = {r["id"]: r["label"] for r in files.read_jsonl(folder / "03_active_learning/training.jsonl")}
    assert trained[one["id"]] == one["label"] and len(trained) == 41
    out, err = finish(project, [*words[:3], "labels", "export", "--to", "all.csv", *run_of])
    assert "what the model labelled itself is left out" in err
    assert len(pd.read_csv(project / "all.csv")) == 1
    assert finish(project, words)[0].count("unchanged, skipped") == 3

    rest = pd.DataFrame(pool).query("id != @one['id']")  # people label all that is left, an ordinary end
    rest.assign(label=[truth[i] for i in rest["id"]])[["text", "label"]].to_csv(project / "rest.csv", index=False)
    finish(project, [*words[:3], "labels", "import", "rest.csv", "--annotator", "me", *run_of])
    out, _ = finish(project, words)
    assert "The model labels 0 of 0 texts; no text is left to be answered." in out
    withdrawn = log.annotations(logs / "model")["model"].values()
    assert not any(answer["label"] for answer in withdrawn)


def test_a_promise_that_cannot_be_kept_labels_nothing_and_says_what_it_takes(tmp_path, tiny_llama):
    project = new_project(tmp_path)
    table(120).to_csv(project / "said.csv", index=False)
    settings = {"data_path": "said.csv", "group_columns": "[group]", "labeller": "model", "promise": "0.95"}
    settings |= {"learner": "probe", "rounds": "0", "seed_size": "20", "model": str(tiny_llama), "epochs": "1"}
    settings |= {"bidirectional": "false", "near_duplicate": "0.95", "test_size": "20", "validation_size": "20"}
    words = ambo_run("few", settings | {"use_synthetic": "false"}, "csv", "--stages", "01,03")
    out, _ = finish(project, words)
    assert "a promise of 95 % takes at least 59 labelled rows" in out and "and there are 20: 39 more" in out
    folder = project / "outputs/csv/few/03_active_learning"
    assert files.read_jsonl(folder / "model_labels.jsonl") == [] and not (folder / "labels/model").exists()
