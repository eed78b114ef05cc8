"""What installs must agree: pyproject, environment.yml, constraints; the notebooks' anatomy."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from helpers import run
from tests.project import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


def requirements() -> dict[str, Requirement]:
    return {r.name: r for r in map(Requirement, PYPROJECT["project"]["dependencies"])}


def test_environment_yml_says_what_pyproject_says():
    text = (ROOT / "environment.yml").read_text()
    parts = yaml.safe_load(text)["dependencies"]
    listed = [d for d in parts if isinstance(d, str) and d != "pip" and not d.startswith("python>")]
    listed += [d for part in parts if isinstance(part, dict) for d in part["pip"]]
    conda = {r.name: str(r.specifier) for r in map(Requirement, listed)}
    assert conda == {CONDA_NAMES.get(name, name): str(r.specifier) for name, r in requirements().items()}


def test_every_dependency_in_environment_yml_has_a_reason():
    lines = [
        line for line in (ROOT / "environment.yml").read_text().splitlines() if re.match(r" +- [a-z]+.*[<>=]", line)
    ]
    assert [line for line in lines if "#" not in line and "python>" not in line] == []


def test_constraints_satisfy_the_ranges():
    pins = dict(
        line.strip().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    assert pins["torch"] == "2.13.0"
    for name, requirement in requirements().items():
        assert pins[name] in requirement.specifier, name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_anatomy(path: Path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    tags = [t for c in cells for t in c["metadata"].get("tags", [])]
    assert tags.count("parameters") == 1 and tags.count("colab") == 1 and tags.count("checks") == 1
    assert "parameters" in cells[2]["metadata"]["tags"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    for cell in cells:
        assert not re.search(r"</?script", "".join(cell["source"]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_papermill_lists_every_parameter_with_help(path: Path):
    import papermill

    inspected = papermill.inspect_notebook(str(path))
    assert set(inspected) == set(run.notebook_parameters(path))
    assert all(p["help"].strip() for p in inspected.values())


def test_tasks_and_profiles_hold_known_keys_and_share_none():
    from helpers import cli

    known = set().union(*(cli.known_parameters(notebooks) for notebooks in run.KINDS.values()))
    keys = {
        kind: {f.stem: set(cli.read_params(kind, f.stem)) for f in (ROOT / "params" / kind).glob("*.yaml")}
        for kind in ("tasks", "profiles")
    }
    for kind in keys.values():
        for name, names in kind.items():
            assert names <= known, name
    for task in keys["tasks"].values():
        for profile in keys["profiles"].values():
            assert not task & profile
