"""The four notebooks through the real runner on a small table: a run, a second run, and a run killed half-way."""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from helpers import outputs, pipeline, run
from helpers.files import read_jsonl, sha256
from tests.project import ambo_run, assert_quiet, copy_stage, finish, kill_after_rounds, new_project, start


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows):
    folder = new_project(tmp_path_factory.mktemp("project"))
    more = [{**r, "text": f"{r['text']} Reply {k}."} for k in ("one", "two") for r in rows]
    pd.DataFrame(more)[["text", "label", "group"]].to_csv(folder / "answers.csv", index=False)
    return folder


def settings(model):
    return {
        "data_path": "answers.csv",
        "group_columns": "[group]",
        "model": str(model),
        "bidirectional": "false",
        "epochs": "2",
        "rounds": "2",
        "batch_labels": "8",
        "seed_size": "20",
        "test_size": "60",
        "validation_size": "30",
        "bootstrap": "100",
        "near_duplicate": "0.9",
        "language": "en",
    }


@pytest.fixture(scope="module")
def undisturbed(project, tiny_llama):
    out, err = finish(project, ambo_run("whole", settings(tiny_llama)))
    return project / "outputs/csv/whole", out, err


def test_a_run_leaves_manifests_that_chain_and_a_report(undisturbed):
    folder, out, err = undisturbed
    manifests = {s: run.read_manifest(folder / name) for s, name in pipeline.STAGES.items()}
    assert {m["status"] for m in manifests.values()} == {"success"}
    assert manifests["03"]["quantization"] == "nf4" and manifests["03"]["four_bit_layers"] == 14
    for later, earlier in (("02", "01"), ("03", "01"), ("04", "03")):
        shared = manifests[later]["inputs"].keys() & manifests[earlier]["outputs"].keys()
        assert shared and all(manifests[later]["inputs"][f] == manifests[earlier]["outputs"][f] for f in shared)
    assert "QLoRA detector" in out and "report.html" in out and "Warning" not in err
    page = (folder / "04_bias_evaluation/report.html").read_text()
    assert "data:image/png;base64," in page and "http" not in page.replace("http-equiv", "")


def test_the_report_opens_with_a_verdict_and_ends_with_limits(undisturbed):
    folder = undisturbed[0] / "04_bias_evaluation"
    page = (folder / "report.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[0] == "In short" and headings[-1] == "Limits"
    headline = pd.read_csv(folder / "headline.csv").iloc[0]
    assert f"a macro-F1 of {headline.macro_f1:.3f} (95 % interval {headline.low:.3f}–{headline.high:.3f})" in page
    rows = sha256(undisturbed[0] / "01_seed_curation/test.jsonl")[:16]
    assert f"sha256 of the test rows {rows}" in page and f"{datetime.date.today():%B %Y}" in page
    assert "Nobody said which class is looked for" in page.partition("<h2>Limits</h2>")[2]
    executed = (folder / "04_bias_evaluation.ipynb").read_text()
    assert f"{len(headings)} sections: In short; " in executed


def test_a_table_without_rows_has_a_header(undisturbed):
    for path in undisturbed[0].rglob("*.csv"):
        assert "," in path.read_text().splitlines()[0], path
    folder = undisturbed[0] / "04_bias_evaluation"
    assert pd.read_csv(folder / "carried_over.csv").empty and pd.read_csv(folder / "flip_pairs.csv").empty


def test_executed_notebooks_show_no_warning_and_no_error(undisturbed):
    assert_quiet(undisturbed[0])


def test_the_test_rows_were_seen_by_nothing(undisturbed):
    folder = undisturbed[0]
    read = lambda name: {r["id"] for r in read_jsonl(folder / name)}  # noqa: E731
    test = read("01_seed_curation/test.jsonl")
    assert len(test) == 60
    for name in (
        "01_seed_curation/seed.jsonl",
        "01_seed_curation/pool.jsonl",
        "02_synthetic_expansion/synthetic.jsonl",
    ):
        assert not test & read(name)
    picks = {i for r in read_jsonl(folder / "03_active_learning/rounds.jsonl") for i in r["picks"]}
    assert picks and not test & picks


def test_a_second_run_skips_everything(project, tiny_llama, undisturbed):
    before = {f: f.stat().st_mtime_ns for f in undisturbed[0].rglob("*") if f.is_file() and f.name != ".lock"}
    out, _ = finish(project, ambo_run("whole", settings(tiny_llama)))
    assert out.count("unchanged, skipped") == 4
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_other_parameters_under_the_same_run_id_are_refused(project, tiny_llama, undisturbed):
    process = start(project, ambo_run("whole", settings(tiny_llama) | {"seed": 99}))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "belongs to a run with seed=13, not 99" in err


def copied(undisturbed, run_id, *stages):
    """The folder of 03 of a run of that id for which these stages are done."""
    folder = undisturbed[0].parent / run_id
    for stage in stages:
        copy_stage(undisturbed[0] / stage, folder / stage)
    return folder / pipeline.STAGES["03"]


def test_a_killed_run_goes_on_to_the_same_selections_and_scores(project, tiny_llama, undisturbed):
    folder = copied(undisturbed, "killed", pipeline.STAGES["01"], pipeline.STAGES["02"])
    words = ambo_run("killed", settings(tiny_llama), "csv", "--stages", "03")
    done = kill_after_rounds(project, words, folder / "rounds.jsonl", 2)
    finish(project, words)
    assert done < 6
    history, again = (read_jsonl(f / "rounds.jsonl") for f in (undisturbed[0] / pipeline.STAGES["03"], folder))
    # A new process reads the labelled texts anew, and peft lists the layers of an adapter in an order of its own.
    costs = ("seconds", "tokens", "adapter", "check")
    strip = lambda rows: [{k: v for k, v in r.items() if k not in costs} for r in rows]  # noqa: E731
    # Where one arm was ahead when the kill came, it takes its next turn first.
    place = lambda r: (r["strategy"], r["round"])  # noqa: E731
    assert strip(sorted(again, key=place)) == strip(sorted(history, key=place)) and len(again) == 6
    before = {place(r): r["tokens"] for r in history}
    more = [r["tokens"] - before[place(r)] for r in again]
    assert not any(more[:done]) and sum(more) >= 0  # a text that both arms have is read by the one that comes first
    for name in ("adapter_model.safetensors", "head.safetensors", "learner.json"):
        assert sha256(folder / "adapter" / name) == sha256(undisturbed[0] / pipeline.STAGES["03"] / "adapter" / name)


def test_the_probe_takes_any_strategy_stops_early_and_embeds_nothing_twice(project, tiny_llama, undisturbed):
    more = {
        "learner": "probe",
        "strategy": "dcalm",
        "stop": "change",
        "lora_dropout": 0.1,
        "use_synthetic": "false",
    }
    folder = copied(undisturbed, "probe", pipeline.STAGES["01"])
    finish(project, ambo_run("probe", settings(tiny_llama) | more, "csv", "--stages", "03"))
    rounds = read_jsonl(folder / "rounds.jsonl")
    ours = [r for r in rounds if r["strategy"] == "dcalm"]
    assert ours[-1]["stop"] and not ours[-1]["picks"] and all(r["picks"] and not r["stop"] for r in ours[:-1])
    assert len(ours) == len(rounds) / 2 and all(len(r["answers"]) == len(ours[0]["answers"]) for r in ours)
    assert sum(r["tokens"] for r in rounds) > 0
    folder = copied(undisturbed, "again", pipeline.STAGES["01"])
    more |= {"strategy": "bait", "rounds": 1}
    finish(project, ambo_run("again", settings(tiny_llama) | more, "csv", "--stages", "03"))
    again = read_jsonl(folder / "rounds.jsonl")
    assert {r["strategy"] for r in again} == {"bait", "random"}
    assert sum(r["tokens"] for r in again if "qlora" not in r) == 0  # but for the training at the end


def test_keywords_take_half_of_the_seed(project, tiny_llama):
    more = {"keywords": "[kind, cru*]"}
    finish(project, ambo_run("words", settings(tiny_llama) | more, "csv", "--stages", "01"))
    seed = read_jsonl(project / "outputs/csv/words/01_seed_curation/seed.jsonl")
    assert sum("kind" in r["text"] or " cru" in r["text"] for r in seed) >= 10


def test_plain_papermill_gives_the_same_files(project, tiny_llama, undisturbed):
    values = "{" + ", ".join(f"{k}: {v}" for k, v in settings(tiny_llama).items()) + ", run_id: plain}"
    copy_stage(undisturbed[0] / pipeline.STAGES["01"], project / "outputs/csv/plain/01_seed_curation")
    stage = pipeline.STAGES["02"]
    files = ["-f", "params/tasks/csv.yaml", "-f", "params/profiles/demo.yaml", "-y", values, "--cwd", str(project)]
    words = [sys.executable, "-m", "papermill", f"notebooks/{stage}.ipynb", f"{stage}.ipynb", *files]
    subprocess.run(words, cwd=project, env={**os.environ, "AMBO_ROOT": str(project)}, check=True, capture_output=True)
    for name in ("candidates.jsonl", "synthetic.jsonl"):
        assert (project / "outputs/csv/plain" / stage / name).read_text() == (undisturbed[0] / stage / name).read_text()


# --- data that change, outputs that go missing ---------------------------------------------------


def write_table(project, rows, test, further=()):
    """The table `edited.csv`: which row numbers are test rows, and which are of a further test set with an odd name."""
    splits = {**dict.fromkeys(test, "test"), **dict.fromkeys(further, "test_2020/21")}
    table = [r | {"split": splits.get(i, "")} for i, r in enumerate(rows)]
    pd.DataFrame(table)[["text", "label", "group", "split"]].to_csv(project / "edited.csv", index=False)


@pytest.fixture(scope="module")
def edited(project, tiny_llama, rows):
    """A run whose table was changed after it ended, and run again by the same command."""
    changes = {
        "data_path": "edited.csv",
        "use_synthetic": "false",
        "rounds": "1",
        "learner": "probe",
        "split_column": "split",
    }
    words = ambo_run("edited", settings(tiny_llama) | changes, "csv", "--stages", "01,03,04")
    folder = project / "outputs/csv/edited"
    write_table(project, rows, range(30), range(30, 45))
    finish(project, words)
    assert "test_2020/21" in (folder / "04_bias_evaluation/carried_over.csv").read_text()
    first, second = sorted({r["label"] for r in rows})
    other = {first: second, second: first}
    rows = [r | {"label": other[r["label"]]} if i % 3 == 0 else r for i, r in enumerate(rows)]
    write_table(project, rows, range(60, 90))
    return folder, words, rows, finish(project, words)[0]


def test_edited_data_make_a_new_detector(edited):
    folder, _, rows, out = edited
    assert "01_seed_curation: edited.csv changed; running" in out
    assert (
        "The rounds so far are put aside in " in out
        and "(changed since: " in out
        and "The selection starts anew" in out
    )
    labels = {r["text"]: r["label"] for r in rows}
    training = read_jsonl(folder / "03_active_learning/training.jsonl")
    assert len(training) == 28 and all(r["label"] == labels[r["text"]] for r in training)
    test = read_jsonl(folder / "01_seed_curation/test.jsonl")
    assert len(test) == 30 and not {r["id"] for r in test} & {r["id"] for r in training}
    assert not list(folder.glob("01_seed_curation/test_*"))
    assert "test_2020" not in (folder / "04_bias_evaluation/carried_over.csv").read_text()


def test_a_missing_or_damaged_adapter_is_trained_again(project, edited):
    folder, words, *_ = edited
    adapter = folder / "03_active_learning/adapter"
    shutil.rmtree(adapter)
    out = finish(project, words)[0]
    assert "adapter is missing; running" in out and "trained once more: its adapter is missing or damaged" in out
    weights = adapter / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-40])
    out = finish(project, words)[0]
    assert "adapter changed; running" in out and "trained once more" in out and len(weights.read_bytes()) == len(whole)
    assert finish(project, words)[0].count("unchanged, skipped") == 3


def test_a_notebook_cut_off_at_its_end_is_done_again(project, edited):
    folder, words, *_ = edited
    executed = folder / "04_bias_evaluation/04_bias_evaluation.ipynb"
    page = json.loads(executed.read_text())
    page["metadata"]["papermill"]["end_time"] = None
    executed.write_text(json.dumps(page))
    out = finish(project, words)[0]
    assert "its notebook was cut off at the end; running" in out and out.count("unchanged, skipped") == 2
    assert json.loads(executed.read_text())["metadata"]["papermill"]["end_time"]


def test_a_stage_held_by_a_kernel_is_refused_and_not_marked(project, edited):
    folder, words, *_ = edited
    stage = folder / "04_bias_evaluation"
    (stage / "report.html").unlink()
    outputs.hold_folder(stage)
    try:
        err = finish(project, words, 2)[1]
    finally:
        outputs._locks.pop(stage).release()
    assert "is in use by another process" in err and run.read_manifest(stage)["status"] == "success"
    assert "report.html is missing; running" in finish(project, words)[0]
