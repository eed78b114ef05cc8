"""The cell that fetches the project on Colab and Kaggle, and `ambo badges`, which says from where."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from helpers import colab
from helpers.env import UserError
from helpers.manifest import code_cells
from tests.project import ROOT, notebook

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
AS_COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
WHERE = "\nimport helpers, os; print(os.getcwd()); print(helpers.__file__); print(sys.path.count(str(home / 'src')))"


def cell_of(path):
    return "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][1]["source"])


def run(code, folder, **environment):
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=os.environ | environment, timeout=120)


def test_every_notebook_has_the_same_cell_and_names_no_account():
    assert {cell_of(path) for path in NOTEBOOKS} == {colab.bootstrap_cell()} and len(NOTEBOOKS) >= 8
    assert not any("OWNER" in path.read_text() for path in NOTEBOOKS if "OWNER/REPO" not in path.read_text())


def test_it_does_nothing_elsewhere(tmp_path):
    done = run(colab.bootstrap_cell("a/b") + "\nprint(os.getcwd(), 'home' in globals())", tmp_path)
    assert done.stdout.split() == [str(tmp_path), "False"] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["colab", "kaggle"])
def test_it_clones_the_project_once_and_imports_it(tmp_path, where):
    """A real clone: git is told that the address on GitHub is a repository in this folder."""
    source, work = tmp_path / "source", tmp_path / "work"
    work.mkdir()
    (source / "src").mkdir(parents=True)
    shutil.copytree(
        ROOT / "src/helpers", source / "src/helpers", ignore=shutil.ignore_patterns("__pycache__", "italian_jobs")
    )
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "x"]):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *names, *words], cwd=source, check=True)
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{source}.insteadOf"}
    settings |= {"GIT_CONFIG_VALUE_0": "https://github.com/somebody/ambo", "PYTHONPATH": ""}
    settings |= {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"} if where == "kaggle" else {}
    code = (AS_COLAB if where == "colab" else "") + colab.bootstrap_cell("somebody/ambo")
    for _ in range(2):  # in a new kernel, and within one
        done = run("\n".join([code, colab.bootstrap_cell("somebody/ambo"), WHERE]), work, **settings)
        assert done.returncode == 0, done.stderr
        folder = work / "ambo"
        assert done.stdout.split() == [str(folder), str(folder / "src/helpers/__init__.py"), "1"]


def test_without_a_repository_it_says_how_to_bring_the_project(tmp_path):
    done = run(AS_COLAB + colab.bootstrap_cell(), tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        f"The project is not in {tmp_path / 'ambo'}: upload its folder as `ambo`, or put it in your Drive"
        in done.stderr
    )
    gone = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url.file:///nowhere.insteadOf"}
    gone |= {"GIT_CONFIG_VALUE_0": "https://github.com/"}
    done = run(AS_COLAB + colab.bootstrap_cell("some/body"), tmp_path, **gone)
    assert "fatal: " in done.stderr and "The project is not in" in done.stderr


def test_drive_is_mounted_only_where_outputs_are_to_last(tmp_path):
    mounted = "drive = types.ModuleType('drive')\ndrive.mount = print\nsys.modules['google.colab'].drive = drive\n"
    kept = colab.bootstrap_cell().replace("KEEP = False", "KEEP = True")
    assert run(AS_COLAB + mounted + kept, tmp_path).stdout == "/content/drive\n"
    assert run(AS_COLAB + mounted + colab.bootstrap_cell(), tmp_path).stdout == ""
    assert colab.is_bootstrap(kept) and colab.is_bootstrap(colab.bootstrap_cell("a/b", "c"))
    assert not colab.is_bootstrap(kept + "\nimport helpers") and not colab.is_bootstrap("")
    assert not colab.is_bootstrap(kept.replace("KEEP = True", "KEEP = True; import this"))


def test_badges_are_written_and_taken_out_again(tmp_path):
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path / path.name)
    notebook(tmp_path / "mine.ipynb", ("x = 1", []))
    (tmp_path / "empty.ipynb").write_text('{"cells": []}')
    pages = {path.name: path.read_bytes() for path in tmp_path.glob("*.ipynb")}
    assert len(colab.write_badges(tmp_path, "some-body/ambo.it", "dev/1")) == len(NOTEBOOKS)
    assert colab.write_badges(tmp_path, "some-body/ambo.it", "dev/1") == []
    page = json.loads((tmp_path / "01_seed_curation.ipynb").read_text())
    address = "https://colab.research.google.com/github/some-body/ambo.it/blob/dev/1/notebooks/01_seed_curation.ipynb"
    assert "".join(page["cells"][0]["source"]).endswith(f"badge.svg)]({address})")
    assert 'REPOSITORY, BRANCH = "some-body/ambo.it", "dev/1"' in cell_of(tmp_path / "01_seed_curation.ipynb")
    assert len(colab.write_badges(tmp_path, "")) == len(NOTEBOOKS)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ipynb")} == pages
    for repository, branch in (("ambo", "main"), ('a/b"); import x', "main"), ("a/b", '"x'), ("a/b\nc", "main")):
        with pytest.raises(UserError, match="is no"):
            colab.write_badges(tmp_path, repository, branch)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ipynb")} == pages


def test_the_cell_is_no_code_of_a_stage():
    cells = code_cells("03_active_learning")
    assert cells and not any("KAGGLE" in cell for cell in cells)
