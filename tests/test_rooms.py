"""The rooms of `src/helpers` and the arrows between them, as DESIGN draws them: held by walking the tree."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

PACKAGE = ROOT / "src" / "helpers"
GROUND = {"env", "files", "run", "task", "text", "edits", "english"}
MAY_USE = {
    "cli": {"core", "synthesis", "fairness", "labels", "evaluation", "data", "query", "italian"},
    "synthesis": {"labels", "fairness", "evaluation", "query", "italian", "data"},
    "fairness": {"evaluation", "italian", "data"},
    "labels": {"data"},
    "evaluation": {"italian", "data"},
    "data": {"italian"},
    "query": set(),
    "italian": set(),
    "core": set(),
}
MODEL_LIBRARIES = {"transformers", "peft", "bitsandbytes"}
BUILD_SCRIPT = PACKAGE / "data" / "italian_jobs" / "build_base_model.py"  # a script beside its data, imported by nobody


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != BUILD_SCRIPT]


def imported(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: name the room"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_used(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("helpers.")}


def test_every_file_has_a_room():
    rooms = {room_of(path) for path in modules()} - {"__init__"}
    assert rooms == GROUND | MAY_USE.keys()


@pytest.mark.parametrize("room", [*MAY_USE, *sorted(GROUND)])
def test_a_room_uses_only_what_stands_below_it(room):
    files = [path for path in modules() if room_of(path) == room]
    assert files, f"no file in {room}: the rule has nothing to check"
    for path in files:
        extra = rooms_used(path) - GROUND - {room} - MAY_USE.get(room, set())
        assert not extra, f"{path.relative_to(PACKAGE)} imports {sorted(extra)}"


def test_only_the_core_imports_the_model_libraries():
    files = modules()
    assert any(room_of(path) == "core" for path in files)
    users = {room_of(path) for path in files if {name.split(".")[0] for name in imported(path)} & MODEL_LIBRARIES}
    assert users == {"core"}


def test_no_circle_of_imports():
    """A file may not lead back to itself, imports inside functions included."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
    }
    uses = {
        name: {found if found in names else found.rpartition(".")[0] for found in imported(path)}
        & names.keys() - {name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for near in sorted(uses[name]):
                visit(near, [*trail, name])
            done.add(name)

    assert len(names) > 40
    for name in names:
        visit(name, [])


@pytest.mark.parametrize("room", [*sorted(MAY_USE.keys() - {"core"}), *sorted(GROUND)])
def test_a_room_loads_no_torch(room):
    files = [path for path in modules() if room_of(path) == room and path.name != "__init__.py"]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    assert names
    script = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
