"""The `ambo` command: what it accepts, and one sentence with exit code 2 for what it does not."""

import sys

import pytest
import yaml
from conftest import ROOT

from helpers import cli, run
from helpers.env import UserError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project root of its own over the real notebooks and parameters, so that outputs/ is the test's."""
    for name in ("notebooks", "params"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    return tmp_path


def ambo(monkeypatch, capsys, *words):
    """(exit code, stdout, stderr) of the command run in this process."""
    monkeypatch.setattr(sys, "argv", ["ambo", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
        raise SystemExit(0)
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task", "none", "--profile", "demo"], "--task 'none' is not in"),
        (["--task", "csv", "--profile", "none"], "choose one of demo, minilm, t4"),
        (["--task", "csv", "--profile", "demo", "-p", "epoch", "3"], "'epoch' is unknown: did you mean 'epochs'?"),
        (["--task", "csv", "--profile", "demo", "-p", "epochs", "many"], "epochs='many' is a str, but a int"),
        (["--task", "csv", "--profile", "demo", "-p", "learning_rate", "2e-4"], "write 2.0e-4"),
        (["--task", "csv", "--profile", "demo", "-p", "epochs"], "Every -p takes a key and a value"),
        (["--task", "csv", "--profile", "demo", "--stages", "07"], "--stages '07' is unknown"),
        (["--task", "csv", "--profile", "demo", "--run-id", "a/b"], "names a folder"),
    ],
)
def test_mistakes_before_any_kernel_starts(project, monkeypatch, capsys, words, sentence):
    code, out, err = ambo(monkeypatch, capsys, "run", *words)
    assert code == 2 and sentence in err and "Traceback" not in err and err.count("\n") == 1 and not out
    assert not (project / "outputs").exists()


TABLES = {
    "column": ("body,label\na b c,x\nd e f,y\n", "no column 'text'"),
    "classes": ("text,label\na b c,x\nd e f,x\n", "fewer than two classes"),
    "empty": ("text,label\n", "has no rows"),
    "label": ("text,label\na b c,x\nd e f,z\n", "Row 3: label 'z'"),
}


@pytest.mark.parametrize("case", TABLES)
def test_mistakes_in_the_data_are_told_by_the_notebook(project, monkeypatch, capsys, case):
    content, sentence = TABLES[case]
    (project / "a.csv").write_text(content)
    more = ["-p", "labels", "[x, y]"] if case == "label" else []
    words = ["run", "--task", "csv", "--profile", "demo", "--run-id", "r", "-p", "data_path", "a.csv", *more]
    code, out, err = ambo(monkeypatch, capsys, *words)
    assert code == 2 and sentence in err and "Traceback" not in out + err
    assert run.read_manifest(project / "outputs/csv/r/01_seed_curation")["status"] == "failed"


def test_values_have_their_yaml_types_and_keys_their_order():
    assert cli.pairs(["a", "b", "c"], ["true", "[x, y]", "1.5"]) == {"a": True, "b": ["x", "y"], "c": 1.5}


def test_gather_merges_task_profile_and_overrides(project):
    params = cli.gather("italian_jobs", "demo", {"rounds": 2, "run_id": 7})
    assert params["task"] == "italian_jobs" and params["rounds"] == 2 and params["run_id"] == "7"
    assert cli.stage_parameters("01", params).keys() == cli.defaults("01").keys()


def test_a_task_and_a_profile_may_not_set_the_same_key(project, tmp_path):
    (tmp_path / "params").unlink()
    for kind, values in (("tasks", {"task": "a", "seed": 1}), ("profiles", {"seed": 2})):
        (tmp_path / "params" / kind).mkdir(parents=True)
        (tmp_path / "params" / kind / "a.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match="both set seed"):
        cli.gather("a", "a", {})


def test_status_and_doctor(project, monkeypatch, capsys):
    assert "No runs yet" in ambo(monkeypatch, capsys, "status")[1]
    code, out, _ = ambo(monkeypatch, capsys, "doctor")
    assert code == 0 and "nf4          works" in out and "torch        2." in out
