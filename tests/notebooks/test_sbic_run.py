"""One model that answers all three questions on SBIC, from an aggregated file of the corpus's form to the report."""

import json
import random

import pandas as pd

from helpers import files
from tests.project import ambo_run, assert_quiet, finish, new_project


def test_one_model_answers_all_three_questions(tmp_path, tiny_llama):
    project, rng, rows = new_project(tmp_path), random.Random(0), []
    for i in range(80):
        group = rng.choice([[], ["women"], ["black folks"]])
        category = {"women": "gender", "black folks": "race"}.get(group[0], "") if group else ""
        post = f"The {rng.choice(['kind', 'cruel', 'warm', 'rude'])} answer number {i} to {' and '.join(group) or 'nobody'}."
        rows.append(
            {
                "post": post,
                "offensiveYN": 1.0 if group else rng.choice([0.0, 0.5]),
                "targetMinority": json.dumps(group),
                "targetCategory": json.dumps([category] if category else []),
                "targetStereotype": json.dumps(["are late"] if group else []),
                "hasBiasedImplication": 0 if group else 1,
                "dataSource": "t/x",
            }
        )
    pd.DataFrame(rows).to_csv(project / "agg.csv", index=False)
    settings = {"data_path": "agg.csv", "model": str(tiny_llama), "bidirectional": "false", "epochs": "1"}
    settings |= {"strategy": "random", "with_random": "false", "rounds": "1", "batch_labels": "10", "seed_size": "20"}
    settings |= {"test_size": "30", "validation_size": "15", "pool_limit": "20", "max_new_tokens": "6"}
    settings |= {"bootstrap": "100", "near_duplicate": "0.95"}
    finish(project, ambo_run("all", settings, "sbic", profile="demo_generation"))
    folder = project / "outputs/sbic/all"
    sets = {
        name: files.read_jsonl(folder / f"01_seed_curation/{name}.jsonl")
        for name in ("seed", "pool", "test", "validation")
    }
    post_of = {name: {r["text"].partition("Post: ")[2] for r in own} for name, own in sets.items()}
    held_out = post_of["test"] | post_of["validation"]
    assert not post_of["test"] & post_of["validation"] and not held_out & (post_of["seed"] | post_of["pool"])
    assert {r["question"] for r in sets["test"]} == {"offensive", "implied_bias", "target_group"}
    page = (folder / "04_generation_evaluation/report.html").read_text()
    assert "By question" in page and "macro-F1" in page
    systems = pd.read_csv(folder / "04_generation_evaluation/systems.csv").set_index("system")
    assert systems.strict["reference"] == 1 and systems["group F1"]["reference"] == 1
    assert_quiet(folder)
