"""The rooms of `src/helpers` and the arrows between them, as DESIGN draws them: held by walking the tree."""

import ast
import sys
from pathlib import Path

import pytest

from tests.project import ROOT, code_cells, finish, new_project

PACKAGE = ROOT / "src" / "helpers"
GROUND = {
    "cells",
    "colab",
    "env",
    "files",
    "hub",
    "manifest",
    "masking",
    "outputs",
    "parameters",
    "pipeline",
    "progress",
    "run",
    "servers",
    "task",
    "text",
    "edits",
    "english",
}
MAY_USE = {
    "cli": {"core", "synthesis", "fairness", "labels", "evaluation", "data", "query", "italian"},
    "synthesis": {"labels", "fairness", "evaluation", "query", "italian", "data"},
    "fairness": {"evaluation", "italian", "data"},
    "labels": {"data"},
    "evaluation": {"italian", "data"},
    "data": {"italian"},
    "query": set(),
    "italian": set(),
    "core": {"italian"},  # core/hints.py alone: see there
}
MODEL_LIBRARIES = {"transformers", "peft", "bitsandbytes"}
BUILD_SCRIPT = PACKAGE / "data" / "italian_jobs" / "build_base_model.py"  # a script beside its data, imported by nobody


def modules() -> dict[str, Path]:
    """Dotted name → file of every module; a package's is that of its `__init__.py`."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != BUILD_SCRIPT]
    assert len(files) > 40, "no files: the rules have nothing to check"
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: name the room"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_file_has_a_room():
    assert {room_of(path) for path in modules().values()} - {"__init__"} == GROUND | MAY_USE.keys()


@pytest.mark.parametrize("room", [*MAY_USE, *sorted(GROUND)])
def test_a_room_uses_only_what_stands_below_it(room):
    files = [path for path in modules().values() if room_of(path) == room]
    assert files, f"no file in {room}: the rule has nothing to check"
    for path in files:
        used = {name.split(".")[1] for name in imported_names(path) if name.startswith("helpers.")}
        extra = used - GROUND - {room} - MAY_USE.get(room, set())
        assert not extra, f"{path.relative_to(PACKAGE)} imports {sorted(extra)}"


def test_one_file_of_the_core_knows_a_language():
    files = [path for path in modules().values() if room_of(path) == "core"]
    users = {path.name for path in files if any(n.startswith("helpers.italian") for n in imported_names(path))}
    assert users == {"hints.py"}


def test_only_the_core_imports_the_model_libraries():
    files = modules().values()
    users = {room_of(path) for path in files if {name.split(".")[0] for name in imported_names(path)} & MODEL_LIBRARIES}
    assert users == {"core"}


def test_no_circle_of_imports():
    """A file may not lead back to itself, imports inside functions included."""
    files = modules()
    uses = {}
    for name, path in files.items():
        imported = imported_names(path)
        imported |= {dotted.rpartition(".")[0] for dotted in imported - files.keys()}  # a name inside a module
        uses[name] = imported & files.keys() - {name}
    visited: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in visited:
            for used in sorted(uses[name]):
                visit(used, [*trail, name])
            visited.add(name)

    for name in files:
        visit(name, [])


def test_no_room_but_the_core_loads_torch(tmp_path):
    names = [name for name, path in modules().items() if room_of(path) != "core"]
    script = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    script += "    if 'torch' in sys.modules: sys.exit(name + ' loads torch')"
    finish(tmp_path, [sys.executable, "-c", script, *names])


@pytest.mark.parametrize("name", ["01_seed_curation", "05_compare_runs"])
def test_a_notebook_that_trains_nothing_starts_without_torch(name, tmp_path):
    cells = code_cells(name)
    opening = next(i for i, source in enumerate(cells) if "open_run(" in source)
    script = "\n".join([*cells[: opening + 1], "import sys", "print('torch' in sys.modules)"])
    out, _ = finish(new_project(tmp_path), [sys.executable, "-c", script])
    assert out.splitlines()[-1] == "False"
