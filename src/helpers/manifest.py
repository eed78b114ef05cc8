"""The manifest of a stage: with which code, from which files and to which files it ran, and whether they are as it says."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

from helpers import env
from helpers.colab import is_bootstrap
from helpers.env import UserError
from helpers.files import digest, notebook_cells, read_json, sha256, write_json

PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "datasets", "scikit-learn", "fairlearn", "papermill"]
PACKAGE = Path(__file__).parent
MOST_SECONDS = 1e10  # three centuries
IGNORED = ("README.md", "LICENSE", "*.pyc")  # files of the package that change no result


def read_manifest(folder: Path) -> dict | None:
    """The manifest of a stage, None before its first run; raises UserError when it is not valid JSON."""
    path = folder / "manifest.json"
    try:
        manifest = read_json(path) if path.exists() else None
    except (ValueError, RecursionError, OSError):
        manifest = {}
    if manifest is None or is_manifest(manifest):
        return manifest
    raise UserError(f"{path} is damaged: run the stage again, which writes it anew; the labels that are there stay.")


def write_manifest(folder: Path, facts: dict[str, Any]) -> Path:
    """Write the manifest of a stage with a digest of itself, so that one from which something was taken is known."""
    facts = json.loads(json.dumps(facts))  # as it will be read: JSON makes texts of other keys
    return write_json(folder / "manifest.json", facts | {"check": _check(facts)})


def is_whole(manifest: dict[str, Any]) -> bool:
    """Whether a manifest is as `write_manifest` wrote it."""
    return manifest.get("check") == _check(manifest)


def _check(facts: dict[str, Any]) -> str:
    return digest({name: fact for name, fact in facts.items() if name != "check"})


def is_manifest(facts: Any) -> bool:
    """Whether a JSON value has what every manifest has, in the right types."""
    types = {"stage": str, "status": str, "code": str, "parameters": dict, "inputs": dict, "outputs": dict}
    return (
        isinstance(facts, dict)
        and all(isinstance(facts.get(name), kind) for name, kind in types.items())
        and isinstance(facts.get("seconds"), (int, float))
        and abs(facts["seconds"]) < MOST_SECONDS  # neither infinite nor a number of 400 digits
        and all(isinstance(sha, str) for sha in [*facts["inputs"].values(), *facts["outputs"].values()])
        and isinstance(facts.get("error", ""), str)
    )


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a stage; {} where there is none that can be read."""
    try:
        facts = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def changed_file(folder: Path, manifest: dict, kinds: tuple[str, ...] = ("inputs", "outputs")) -> str:
    """What is no longer as the manifest of the stage in `folder` records it; '' where all is."""
    for kind in kinds:
        for name, sha in manifest[kind].items():
            try:
                path = env.resolve(name)
                if kind == "outputs" and not path.resolve().is_relative_to(folder.resolve()):
                    if other := _run_of(path, folder):
                        return f"it is the run {short_name(other)}, copied or renamed"
                    return f"its manifest is damaged: {short_name(name)} is no file of this stage"
                if not path.exists():
                    return f"{short_name(name)} is missing"
                if not (path.is_file() or path.is_dir()):  # a pipe or a device would be waited for
                    return f"its manifest is damaged: {short_name(name)} is no regular file"
                if sha256(path) != sha:
                    return f"{short_name(name)} changed"
            except (UserError, OSError, ValueError):  # a name that is too long or no text, a file that cannot be read
                return f"its manifest is damaged: {short_name(name)} cannot be read"
    return ""


def _run_of(path: Path, folder: Path) -> str:
    """`task/run` where a path lies in the stage of another run that is like the one in `folder`, else ''."""
    outputs = (env.root() / "outputs").resolve()
    parts = path.resolve().relative_to(outputs).parts if path.resolve().is_relative_to(outputs) else ()
    is_like = parts[2:3] == (folder.name,) and outputs.joinpath(*parts[:3]) != folder.resolve()
    return "/".join(parts[:2]) if is_like else ""


def stored_name(path: Path) -> str:
    """The path as the manifest stores it: relative to the project root where it lies inside."""
    return path.relative_to(env.root()).as_posix() if path.is_relative_to(env.root()) else path.as_posix()


def short_name(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:200]}…"


def code_sha(stage: str) -> str:
    """sha256 of the notebook's code cells and of this package."""
    # outputs and execution counts do not count as a change
    return digest([code_cells(stage), package_sha()])


def method_sha(stage: str) -> str:
    """As `code_sha`, without the notebook's cell of parameters: of two runs it differs where the method does."""
    return digest([code_cells(stage, with_parameters=False), package_sha()])


def package_sha() -> str:
    """sha256 of this package: its code, tables, data and weights."""
    total = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*")):
        parts = file.relative_to(PACKAGE).parts
        if any(
            part.startswith(".") or part == "__pycache__" for part in parts
        ):  # checkpoints, what Python is just writing
            continue
        if file.is_file() and not any(file.match(pattern) for pattern in IGNORED):
            total.update("/".join(parts).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


IMPORTED = package_sha()  # what this process has in memory, whatever becomes of the files


def refuse_changed_package() -> None:
    """Raise UserError where the package is not what this process has imported: results would be recorded as the new code's."""
    if package_sha() != IMPORTED:
        remedy = "restart the kernel, and run this notebook from its first cell"
        raise UserError(f"The code in {env.short_path(PACKAGE)} has changed since this kernel imported it: {remedy}.")


def code_cells(stage: str, with_parameters: bool = True) -> list[str]:
    """The code of a stage's notebook, cell by cell, but for the cell that fetches the project; [] where it is not there."""
    notebook = env.root() / "notebooks" / f"{stage}.ipynb"
    cells = notebook_cells(notebook) if notebook.exists() else []
    cells = [cell for cell in cells if cell["cell_type"] == "code" and not is_bootstrap(cell["source"])]
    return [c["source"] for c in cells if with_parameters or "parameters" not in c["metadata"].get("tags", [])]


def git_state() -> dict[str, Any]:
    """Commit of the checkout and whether it has uncommitted changes; empty values without git."""

    def answer(*words: str) -> str:
        process = subprocess.run(["git", *words], cwd=env.root(), capture_output=True, text=True)
        return process.stdout.strip()

    try:
        return {"sha": answer("rev-parse", "HEAD"), "dirty": bool(answer("status", "--porcelain"))}
    except OSError:  # no git on this machine
        return {"sha": "", "dirty": None}


def version(package: str) -> str:
    """Installed version of a distribution, `not installed` without one."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
