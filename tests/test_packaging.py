"""What an install needs: dependencies that agree, a complete wheel, any operating system; and the notebooks' anatomy."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from helpers import parameters, pipeline, run
from helpers.cli import given
from tests.project import ROOT, code_cells, demo_parameters, finish, new_project

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STAGES = [path for path in NOTEBOOKS if not path.stem.startswith("00_")]  # the start page has no parameters and no run
CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


# --- dependencies ---------------------------------------------------------------------------------


def requirements() -> dict[str, Requirement]:
    return {r.name: r for r in map(Requirement, PYPROJECT["project"]["dependencies"])}


def test_environment_yml_says_what_pyproject_says():
    parts = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = [d for d in parts if isinstance(d, str) and d != "pip" and not d.startswith("python>")]
    listed += [d for part in parts if isinstance(part, dict) for d in part["pip"]]
    conda = {r.name: str(r.specifier) for r in map(Requirement, listed)}
    lab = {r.name: r for r in map(Requirement, PYPROJECT["project"]["optional-dependencies"]["lab"])}
    ours = requirements() | lab  # where JupyterLab comes from conda
    assert conda == {CONDA_NAMES.get(name, name): str(r.specifier) for name, r in ours.items()}


def test_every_dependency_in_environment_yml_has_a_reason():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    dependencies = [line for line in lines if re.match(r" +- [a-z]+.*[<>=]", line) and "python>" not in line]
    assert dependencies and [line for line in dependencies if "#" not in line] == []


def test_constraints_satisfy_the_ranges():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.strip().lower().replace("_", "-").split("==") for line in lines if "==" in line)
    for name, requirement in requirements().items():
        assert pins[name] in requirement.specifier, name


# --- the wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The unpacked wheel."""
    pytest.importorskip("setuptools")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    zipfile.ZipFile(next(out.glob("*.whl"))).extractall(out / "unpacked")
    return out / "unpacked"


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "src" / "helpers"
    names = {path.relative_to(package) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {"lexicon.tsv", "gold.jsonl", "model.safetensors", "panel.css", "panel.js"} <= {path.name for path in names}
    assert {name for name in names if not (wheel / "helpers" / name).exists()} == set()


OUTSIDE = """
import json, sys
import helpers
from helpers.core import QLoRA, Recipe
from helpers.data import embedded, tables
from helpers.italian import gender
from helpers.italian.cues import find_cues
from helpers.labels import panel
from helpers.task import Task

assert len(tables.read_table(embedded.JOB_ADS, "text")) > 3000
assert embedded.read_guideline("embedded:italian_jobs/GUIDELINE.md") and find_cues("Cerchiamo un cameriere")
task = Task("t", ("a", "b"), "b", (" a", " b"), "{text}")
learner = QLoRA(task, Recipe.from_params(json.loads(sys.argv[1])))
assert learner.generate(["La risorsa si occuperà"], 5)[0].strip()
print(helpers.__file__)
"""


def test_an_installed_wheel_finds_its_data_and_its_model_outside_a_checkout(wheel, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(wheel), "AMBO_ROOT": ""}
    words = [sys.executable, "-c", OUTSIDE, json.dumps(demo_parameters(head="lm", bidirectional=False))]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(wheel)


# --- every machine --------------------------------------------------------------------------------

AS_ON_WINDOWS = """
import ctypes, sys
import filelock, psutil  # both have parts of their own for Windows

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None  # importing it raises ImportError
load = ctypes.CDLL.__init__

def no_glibc(self, name, *args, **options):
    if name is None:
        raise TypeError("there is no C library of the whole process")
    load(self, name, *args, **options)

ctypes.CDLL.__init__ = no_glibc
"""
IMPORT_ALL = """
import helpers, importlib, pkgutil

names = [module.name for module in pkgutil.walk_packages(helpers.__path__, "helpers.")]
for name in names:
    if not name.startswith("helpers.core"):  # torch imports what it likes
        importlib.import_module(name)
print(len(names))
"""
LABELLING = """
from helpers import env, files
from helpers.labels import log

folder = env.root() / "outputs/csv/r/01_seed_curation"
for annotator, ids in files.read_json(folder / "waiting.json").items():
    for i, record in enumerate(ids):
        log.append(folder / "labels", annotator, "label", record, label="yx"[i % 2])
"""


def test_no_import_needs_unix(tmp_path):
    out, _ = finish(tmp_path, [sys.executable, "-c", AS_ON_WINDOWS + IMPORT_ALL])
    assert int(out) > 40


def test_seed_curation_and_labelling_need_nothing_of_unix(tmp_path):
    """Notebook 01 waits for labels, people give them, and 01 finishes, in one process without Unix modules."""
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"testo numero {i} del {i * i}\n" for i in range(60)))
    settings = {"task": "csv", "run_id": "r", "data_path": "texts.csv", "label_column": "", "labels": ["x", "y"]}
    settings |= {"positive_label": "y", "group_columns": [], "split_column": "", "seed_size": 8, "labeller": "human"}
    curation = "\n".join(code_cells("01_seed_curation", **settings))
    script = "\n".join([AS_ON_WINDOWS, curation, LABELLING, curation])
    finish(new_project(tmp_path), [sys.executable, "-c", script], MPLBACKEND="agg")
    folder = tmp_path / "outputs/csv/r/01_seed_curation"
    assert run.read_manifest(folder)["status"] == "success"
    assert '"label": "y"' in (folder / "seed.jsonl").read_text()


# --- notebooks ------------------------------------------------------------------------------------


def notebook_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"]), "tags": cell["metadata"].get("tags", [])} for cell in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path: Path):
    cells = notebook_cells(path)
    assert cells[0]["cell_type"] == "markdown" and cells[0]["source"].startswith("# ")
    assert cells[1]["tags"] == ["colab"]
    for cell in cells:
        assert not re.search(r"</?script", cell["source"])
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_fits_a_laptop_screen(path: Path):
    lines = [
        line for cell in notebook_cells(path) if cell["cell_type"] == "code" for line in cell["source"].split("\n")
    ]
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_notebook_anatomy(path: Path):
    """As DESIGN draws it: question, table, parameters, the run opened at the start, checked and closed at the end."""
    cells = notebook_cells(path)
    assert re.search(r"\n\*\*[^*]+\?\*\*\n", cells[0]["source"])
    assert "| Reads | Writes | Needs |" in cells[0]["source"]
    tags = [tag for cell in cells for tag in cell["tags"]]
    assert sorted(tags) == ["checks", "colab", "parameters"] and cells[2]["tags"] == ["parameters"]
    assert any("open_run(" in cell["source"] for cell in cells[3:6])
    checks = next(i for i, cell in enumerate(cells) if "checks" in cell["tags"])
    assert "assert " in cells[checks]["source"] and "here.close(" in cells[checks]["source"]
    assert cells[checks + 1]["source"].startswith("**Written:**") and len(cells) - checks <= 5  # a panel may follow


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_papermill_lists_every_parameter_with_help(path: Path):
    import papermill

    inspected = papermill.inspect_notebook(str(path))
    assert set(inspected) == set(parameters.notebook_parameters(path))
    assert all(parameter["help"].strip() for parameter in inspected.values())


def test_tasks_and_profiles_hold_known_keys_and_share_none():
    known = {name for notebooks in pipeline.KINDS.values() for name in given.known_parameters(notebooks)}
    keys = {
        kind: {file.stem: set(given.read_params(kind, file.stem)) for file in (ROOT / "params" / kind).glob("*.yaml")}
        for kind in ("tasks", "profiles")
    }
    assert keys["tasks"] and keys["profiles"]
    for name, names in (keys["tasks"] | keys["profiles"]).items():
        assert names <= known, name
    for task in keys["tasks"].values():
        for profile in keys["profiles"].values():
            assert not task & profile
