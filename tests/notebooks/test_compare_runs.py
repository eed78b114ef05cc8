"""05 executed for real: over runs, over the benchmark's CSV, and with nothing to compare."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from helpers import files, run
from helpers.evaluation import curves
from tests.project import ROOT, new_project, save_manifest

WRITTEN = ROOT / "tests" / "benchmarks" / "results" / "generation_curves.csv"
CURVES = ROOT / "tests" / "benchmarks" / "results" / "active_learning_curves.csv"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three runs of one task as 03 leaves them, one of them with results of 04."""
    folder = new_project(tmp_path_factory.mktemp("project"))
    for seed in (1, 2, 3):
        rounds = [
            {"strategy": name, "round": i, "labels": 50 + 50 * i, "macro_f1": 0.5 + 0.05 * i + gain * i + seed / 100}
            | {"picks": ["x"], "seconds": 1.5, "tokens": 100}
            for name, gain in (("margin", 0.02), ("random", 0.0))
            for i in range(4)
        ]
        stage = folder / "outputs" / "answers" / f"run{seed}" / "03_active_learning"
        files.write_jsonl(stage / "rounds.jsonl", rounds)
        parameters = {"task": "answers", "learner": "probe", "model": "m", "seed": seed}
        save_manifest(stage, parameters=parameters)
    headline = pd.DataFrame({"model": ["QLoRA detector", "majority"], "macro_f1": [0.8, 0.4]})
    for name in ("run1", "run2"):  # the latter is of before its labels were corrected
        stage = folder / "outputs" / "answers" / name / "04_bias_evaluation"
        files.write_csv(stage / "headline.csv", headline)
        save_manifest(stage, parameters={"task": "answers"}, foreign_cells=2)
    save_manifest(stage, inputs={f"outputs/answers/{name}/03_active_learning/rounds.jsonl": "another"})
    return folder


def execute(project, **values):
    """The finished process, and what the notebook printed."""
    settings = "{" + ", ".join(f"{k}: {v}" for k, v in ({"task": "answers"} | values).items()) + "}"
    words = [sys.executable, "-m", "papermill", "notebooks/05_compare_runs.ipynb", "out.ipynb", "-y", settings]
    environment = {**os.environ, "AMBO_ROOT": str(project)}
    words += ["--cwd", str(project)]
    process = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True)
    cells = json.loads((project / "out.ipynb").read_text())["cells"]
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert not [o for o in outputs if o.get("name") == "stderr"], outputs
    return process, "".join("".join(o.get("text", "")) for o in outputs)


def test_runs_are_compared_seed_by_seed(project):
    process, text = execute(project, run_id="all")
    assert process.returncode == 0, process.stderr
    folder = project / "outputs/answers/all/05_compare_runs"
    comparison = pd.read_csv(folder / "comparison.csv").set_index("strategy")
    margin = comparison.loc["margin"]
    assert margin.gain == pytest.approx(0.03, abs=1e-4) and margin.seeds == 3
    assert run.read_manifest(folder)["status"] == "success"
    assert (folder / "curves.png").stat().st_size > 10_000
    assert "margin +0.0300" in text and "3 seeds" in text
    assert "no test scores of run2 (outputs/answers/run2/03 active learning/rounds.jsonl changed)" in text
    assert "run1: 04_bias_evaluation: cells were run in it that are not those of its notebook (2)." in text
    inputs = run.read_manifest(folder)["inputs"]
    assert [name for name in inputs if name.endswith("headline.csv")] == [
        "outputs/answers/run1/04_bias_evaluation/headline.csv"
    ]


def test_the_csv_of_the_benchmark_is_compared(project):
    values = {"curves_csv": CURVES, "full_json": CURVES.with_name("active_learning.json"), "upto": 1050}
    process, text = execute(project, run_id="bench", **values)
    assert process.returncode == 0, process.stderr
    comparison = pd.read_csv(project / "outputs/answers/bench/05_compare_runs/comparison.csv")
    assert {"random", "margin", "bait"} <= set(comparison.strategy)
    committed = pd.read_csv(CURVES.with_name("active_learning.csv"))
    both = comparison.merge(committed, on=["set", "strategy"])
    assert len(both) == len(committed)
    assert both.area_x.to_numpy() == pytest.approx(both.area_y.to_numpy(), abs=2e-4)
    assert "seeds, p =" in text


def test_runs_of_generation_are_compared_by_both_scores(project):
    for seed in (1, 2):
        folder = project / "outputs" / "words" / f"run{seed}"
        rounds = [
            {"strategy": name, "round": i, "targets": 30 + 60 * i, "picks": ["x"], "seconds": 2.0, "tokens": 9}
            | {"compliance": 0.5 + gain * i, "compliance_low": 0.4, "compliance_high": 0.9}
            | {"chrF": 70.0 + i, "chrF_low": 60.0, "chrF_high": 80.0}
            for name, gain in (("hassan", 0.1 + seed / 10), ("random", 0.1))
            for i in range(2)
        ]
        files.write_jsonl(folder / "03_active_generation" / "rounds.jsonl", rounds)
        parameters = {"task": "words", "model": "m", "seed": seed}
        save_manifest(folder / "03_active_generation", parameters=parameters)
        ends = pd.DataFrame({"system": ["writer"], "strict": [0.7], "compliance": [0.8], "chrF": [75.0]})
        files.write_csv(folder / "04_generation_evaluation" / "headline.csv", ends)
        if seed == 1:  # of the other nothing says that it has ended
            save_manifest(folder / "04_generation_evaluation")
    process, text = execute(project, run_id="both", task="words")
    assert process.returncode == 0, process.stderr
    comparison = pd.read_csv(project / "outputs/words/both/05_compare_runs/comparison.csv").set_index(
        ["set", "strategy"]
    )
    assert comparison.loc[("words, m: compliance", "hassan"), "gain"] == pytest.approx((0.1 + 0.2) / 2 / 2, abs=1e-4)
    assert (comparison.loc["words, m: chrF", "gain"] == 0).all() and "2 runs of words" in text
    inputs = run.read_manifest(project / "outputs/words/both/05_compare_runs")["inputs"]
    assert sum(path.endswith("03_active_generation/rounds.jsonl") for path in inputs) == 2


def test_the_curves_of_the_generation_benchmark_can_be_compared():
    table = curves.from_csv(WRITTEN)
    drawn = pd.read_csv(WRITTEN)[["set", "learner"]].drop_duplicates().itertuples(index=False)
    sets = {f"{of}, {learner}: {score}" for of, learner in drawn for score in curves.GENERATION}
    assert {*table["set"]} == sets
    comparison = curves.compare(table, min(sets), full=float(table[table["set"] == min(sets)].score.max()))
    assert {"random", "hassan", "top_n"} <= {*comparison.strategy} and comparison.seeds.max() == 5


def answered(folder, wrong, texts=40):
    """Test rows of 01 and answers of 04 for a run: the first `wrong` rows are answered wrongly."""
    rows = [{"id": f"t{i}", "text": f"<i>text {i}", "label": "yes", "who": "ab"[i % 2]} for i in range(texts)]
    files.write_jsonl(folder / "01_seed_curation" / "test.jsonl", rows)
    save_manifest(folder / "01_seed_curation")
    files.write_json(folder / "01_seed_curation" / "task.json", {"labels": ["yes", "no"]})
    answers = ["no"] * wrong + ["yes"] * (texts - wrong)
    table = pd.DataFrame({"id": [r["id"] for r in rows], "answer": answers})
    files.write_csv(folder / "04_bias_evaluation" / "predictions.csv", table)
    save_manifest(
        folder / "04_bias_evaluation",
        parameters={"group_columns": ["who"], "label_names": ["Open to all", "Shuts out"]},
    )


@pytest.fixture(scope="module")
def human(project):
    """Three runs that people labelled, without a random arm, and one that waits for labels."""
    root = project / "outputs" / "people"
    for name, seed, status in (
        ("a", 1, "success"),
        ("b", 2, "success"),
        ("c", 3, "success"),
        ("d", 4, "awaiting_labels"),
    ):
        rounds = [{"strategy": "bait", "round": i, "labels": 20 + i, "macro_f1": 0.5, "picks": []} for i in range(2)]
        files.write_jsonl(root / name / "03_active_learning" / "rounds.jsonl", rounds)
        parameters = {"task": "people", "learner": "qlora", "model": "m", "seed": seed}
        save_manifest(root / name / "03_active_learning", parameters=parameters, status=status)
    answered(root / "a", 2)
    answered(root / "b", 16)
    answered(root / "c", 2, texts=30)
    save_manifest(root / "e" / "01_seed_curation")
    return root


def test_human_runs_are_drawn_and_compared_row_by_row(project, human):
    process, text = execute(project, task="people", run_id="pairs", pair="[a, b]")
    assert process.returncode == 0, process.stderr
    assert "3 runs of people" in text and "left out: d (awaiting labels)" in text
    assert "left out: e (03 has not been run)" in text
    assert "no curve of random: run it with the same seeds" in text
    assert "14 of 40 answers differ; 0 rows are right in b alone, 14 in a alone" in text
    assert "a is better by more than chance" in text
    folder = human / "pairs/05_compare_runs"
    assert pd.read_csv(folder / "comparison.csv").columns.tolist() == curves.COMPARED
    assert pd.read_csv(folder / "changed_rows.csv").text.iloc[0] == "<i>text 2"
    groups = pd.read_csv(folder / "changes_by_group.csv").set_index("group")
    assert groups["count"].to_dict() == {"a": 20, "b": 20} and (groups.high < 0).all()
    page = (project / "out.ipynb").read_text()
    assert "Shuts out</td>" in page and ">no</td>" not in page  # in the table of changed answers
    assert set(pd.read_csv(folder / "changed_rows.csv").second_answer) == {"no"}
    assert "&lt;i&gt;text 2" in page and (folder / "curves.png").exists() and not (folder / "gains.png").exists()


def test_runs_with_other_test_rows_are_not_compared_row_by_row(project, human):
    process, text = execute(project, task="people", run_id="apart", pair="[a, c]")
    assert process.returncode == 0, process.stderr
    assert "a and c have other test rows (sha256 " in text and "not compared row by row." in text
    assert not (human / "apart/05_compare_runs/changed_rows.csv").exists()


def test_an_unknown_run_is_one_sentence(project, human):
    process, _ = execute(project, task="people", run_id="typo", runs="[a, nobody]")
    assert process.returncode != 0 and "There is no run 'nobody' of people" in process.stderr


def test_nothing_to_compare_is_one_sentence(project):
    process, _ = execute(project, task="nobody", run_id="none")
    assert process.returncode != 0 and "run 03 first, or give curves_csv" in process.stderr
