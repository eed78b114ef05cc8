"""Runs: parameters are checked, manifests chain the stages, what has not changed is skipped."""

import json

import pytest
from safetensors import SafetensorError

from helpers import files, run
from helpers.env import UserError
from tests.project import ROOT, notebook

CELL = (
    "task = 'demo'  # name\nrun_id = 'r'  # run\nseed = 1  # seed\nrate = 0.1  # a rate = a share\nuse = True  # yes\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    notebook(tmp_path / "notebooks" / "01_seed_curation.ipynb", ("1 + 1", []), (CELL, ["parameters"]))
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    return tmp_path


def test_parameters_survive_a_second_equals_sign(project):
    found = run.notebook_parameters(project / "notebooks" / "01_seed_curation.ipynb")
    assert found == {"task": "demo", "run_id": "r", "seed": 1, "rate": 0.1, "use": True}


@pytest.mark.parametrize(
    ("value", "default", "words"),
    [
        ("2e-4", 0.1, "write 2.0e-4"),
        ("true", True, "is a text, but a truth value"),
        (True, 3, "is a truth value, but a whole number"),
        (None, 3, "rate=None is empty, but a whole number such as 3"),
        (1.5, 3, "is a number, but a whole number"),
        ("a", [], "but a list"),
        ([True, "no"], [], "True is a truth value; put it in quotes"),
    ],
)
def test_wrong_types_are_named(value, default, words):
    with pytest.raises(UserError, match=words):
        run.check_type("rate", value, default)


def test_an_integer_passes_for_a_float():
    assert run.check_type("rate", 1, 0.5) == 1.0 and isinstance(run.check_type("rate", 1, 0.5), float)


def stage(project, **changes):
    return run.open_run("01", {**run.notebook_parameters(project / "notebooks" / "01_seed_curation.ipynb"), **changes})


def test_a_finished_stage_is_unchanged_until_an_input_output_or_the_code_changes(project):
    (project / "in.txt").write_text("a")
    here = stage(project)
    assert json.loads(here.path("manifest.json").read_text())["status"] == "running"
    here.reads("in.txt")
    here.wrote(files.write_text(here.path("out.txt"), "b"))
    here.close()
    assert run.unchanged(here.folder, here.params)
    assert not run.unchanged(here.folder, here.params | {"seed": 2})
    for path, content in ((project / "in.txt", "a"), (here.path("out.txt"), "b")):
        path.write_text("changed")
        assert not run.unchanged(here.folder, here.params)
        path.write_text(content)
    assert run.unchanged(here.folder, here.params)
    notebook(project / "notebooks" / "01_seed_curation.ipynb", ("1 + 2", []), (CELL, ["parameters"]))
    assert not run.unchanged(here.folder, here.params)


def test_a_folder_with_other_parameters_is_refused_unharmed(project):
    here = stage(project)
    here.wrote(files.write_text(here.path("out.txt"), "b"))
    here.close()
    before = {f: f.read_bytes() for f in here.folder.iterdir()}
    with pytest.raises(UserError, match="seed=1, not 2: choose another run_id"):
        stage(project, seed=2)
    assert {f: f.read_bytes() for f in here.folder.iterdir()} == before


def test_missing_inputs_and_bad_run_names(project):
    here = stage(project)
    with pytest.raises(UserError, match="run 01_seed_curation with run_id='r' first"):
        here.earlier("01", "seed.jsonl")
    with pytest.raises(UserError, match=r"none\.csv is missing"):
        here.reads("none.csv")
    with pytest.raises(UserError, match=r"run_id='\.\./x' names a folder"):
        stage(project, run_id="../x")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = files.write_text(tmp_path / "a.txt", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    def save(text, fail=False):
        with files.replacing(tmp_path / "adapter") as folder:
            folder.mkdir()
            (folder / f"{text}.txt").write_text(text)
            if fail:
                raise SafetensorError("No space left on device (os error 28)")

    save("first")
    with pytest.raises(UserError, match=r"adapter could not be written \(No space left on device"):
        save("second", fail=True)
    assert [f.name for f in tmp_path.rglob("*.*")] == ["first.txt"]
    save("second")
    assert [f.name for f in tmp_path.rglob("*.*")] == ["second.txt"]


def test_jsonl_keeps_line_separators_inside_strings(tmp_path):
    rows = [{"text": "a\u2028b\u0085c"}]
    assert files.read_jsonl(files.write_jsonl(tmp_path / "a.jsonl", rows)) == rows


def test_the_manifest_says_what_ran(project):
    here = stage(project)
    here.note(model="m")
    here.close()
    manifest = run.read_manifest(here.folder)
    assert manifest["status"] == "success" and manifest["model"] == "m" and manifest["parameters"]["seed"] == 1
    assert manifest["packages"]["torch"].startswith("2.") and manifest["peak_memory_gib"]["ram"] > 0
    assert set(manifest["git"]) == {"sha", "dirty"} and ROOT.name


def test_a_broken_manifest_is_named(project):
    here = stage(project)
    here.path("manifest.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        run.read_manifest(here.folder)


def test_a_limit_may_be_raised_when_a_run_goes_on(project):
    files.write_json(project / "manifest.json", {"parameters": {"seed": 1, "teacher_tokens": 100}})
    run.refuse_other_parameters(project, {"seed": 1, "teacher_tokens": 900})
    with pytest.raises(UserError, match="seed=1, not 2"):
        run.refuse_other_parameters(project, {"seed": 2, "teacher_tokens": 900})


def test_a_generation_stage_finds_what_earlier_notebooks_of_its_kind_wrote(project):
    folder = project / "outputs/t/r"
    files.write_text(folder / "03_active_generation/a.txt", "a")
    here = run.Run("04_generation_evaluation", {"run_id": "r"}, folder / "04_generation_evaluation")
    assert here.earlier("03", "a.txt").read_text() == "a"
    with pytest.raises(UserError, match="run 03_active_learning with run_id='r' first"):
        run.Run("04_bias_evaluation", {"run_id": "r"}, folder / "04_bias_evaluation").earlier("03", "a.txt")
    with pytest.raises(UserError, match="kind='poetry' is unknown: choose one of classification, generation"):
        run.notebooks("poetry")
