"""A run's folder: checked parameters, manifest, hashes, and what can be skipped.

`outputs/<task>/<run_id>/<stage>/` holds the executed notebook, `manifest.json` and the stage's files. Every file is
written to a temporary name and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from helpers import env
from helpers.env import UserError
from helpers.files import read_jsonl, sha256, write_json

STAGES = {
    "01": "01_seed_curation",
    "02": "02_synthetic_expansion",
    "03": "03_active_learning",
    "04": "04_bias_evaluation",
}
GENERATION = {"01": "01_seed_curation", "03": "03_active_generation", "04": "04_generation_evaluation"}
KINDS = {"classification": STAGES, "generation": GENERATION}  # the notebooks of each kind of task
LIMITS = ("teacher_tokens",)  # may be raised when a run goes on
PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "datasets", "scikit-learn", "fairlearn", "papermill"]


# --- files -----------------------------------------------------------------------------------------------------------


# --- parameters ------------------------------------------------------------------------------------------------------


def notebook_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values of the cell tagged `parameters`.

    Parsed here rather than with papermill's own inspection, which loses a parameter whose line has a second `=`.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise UserError(f"{notebook.name} has {len(tagged)} cells tagged `parameters`; it needs exactly one.")
    body = ast.parse("".join(tagged[0]["source"])).body
    return {s.targets[0].id: ast.literal_eval(s.value) for s in body if isinstance(s, ast.Assign)}


def check_type(name: str, value: Any, default: Any) -> Any:
    """`value`, when it has the type of `default` (an int passes for a float); raises UserError otherwise."""
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        hint = " (in YAML write 2.0e-4, not 2e-4)" if isinstance(default, float) and isinstance(value, str) else ""
        raise UserError(
            f"Parameter {name}={value!r} is {_kind(value)}, but {_kind(default)} such as {default!r} is expected{hint}."
        )
    if isinstance(value, list) and (odd := [v for v in value if not isinstance(v, str)]):
        raise UserError(f"Parameter {name}={value!r}: {odd[0]!r} is {_kind(odd[0])}; put it in quotes.")
    return value


def _kind(value: Any) -> str:
    names = {
        str: "a text",
        bool: "a truth value",
        int: "a whole number",
        float: "a number",
        list: "a list",
        type(None): "empty",
    }
    return names.get(type(value), f"a {type(value).__name__}")


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One stage of one run: its folder, its checked parameters, and the manifest that is kept up to date."""

    stage: str
    params: dict[str, Any]
    folder: Path
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def path(self, name: str) -> Path:
        return self.folder / name

    def reads(self, path: str | Path) -> Path:
        """Record a file or folder as an input of this stage and return its path; raises UserError if it is missing."""
        path = env.resolve(path)
        if not path.exists():
            raise UserError(f"{path} is missing: check the path, or run the notebook that writes it first.")
        self.inputs[_name(path)] = sha256(path)
        return path

    def earlier(self, stage: str, name: str) -> Path:
        """Path of a file that an earlier stage of this run wrote, recorded as an input."""
        notebook = (GENERATION if self.stage in GENERATION.values() else STAGES)[stage]
        path = self.folder.parent / notebook / name
        if not path.exists():
            raise UserError(f"{path} is missing: run {notebook} with run_id={self.params['run_id']!r} first.")
        return self.reads(path)

    def wrote(self, path: Path) -> Path:
        """Record a file or folder as an output of this stage."""
        self.outputs[_name(path)] = sha256(path)
        return path

    def read_rounds(self) -> list[dict]:
        """Rounds of active learning that this stage has finished so far."""
        path = self.path("rounds.jsonl")
        return read_jsonl(path) if path.exists() else []

    def note(self, **facts: Any) -> None:
        """Add facts (model revision, quantisation, ...) to the manifest."""
        self.notes |= facts

    def save_manifest(self, status: str) -> None:
        write_json(
            self.path("manifest.json"),
            {
                "stage": self.stage,
                "status": status,
                "parameters": self.params,
                **self.notes,
                "code": code_sha(self.stage),
                "git": _git(),
                "packages": {p: version(p) for p in PACKAGES},
                "machine": env.machine(),
                "peak_memory_gib": env.peak_memory_gib(),
                "seconds": round(time.time() - self.started, 1),
                "inputs": self.inputs,
                "outputs": self.outputs,
            },
        )

    def close(self, status: str = "success") -> None:
        """Write the final manifest and let the folder go; `status` is `success` or `awaiting_labels`."""
        self.save_manifest(status)
        if lock := _locks.pop(self.folder, None):
            lock.release()


_locks: dict[Path, FileLock] = {}


def hold_folder(folder: Path, patience: float = 10.0) -> None:
    """Keep other processes out of `folder` until this one ends or closes the run; raises UserError when it is taken.

    The kernel of a killed run lives on for a moment, hence the patience (seconds).
    """
    if folder in _locks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(
        folder / ".lock", thread_local=False
    )  # the panel's batch thread lets go of what the main thread took
    try:
        lock.acquire(timeout=patience, poll_interval=0.2)
    except Timeout:
        raise UserError(
            f"{folder} is in use by another process: wait for it, shut its kernel down, or choose another run_id."
        ) from None
    _locks[folder] = lock


def is_held(folder: Path) -> bool:
    """Whether a process, this one or another, holds `folder`."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def open_run(stage: str, values: dict[str, Any]) -> Run:
    """Check the parameters found in `values` (a notebook's globals), seed, and open the stage's folder.

    `stage` is a number of STAGES, or the notebook's name, as for those that only a generation task has. Raises UserError on a
    wrong type, or when the folder belongs to a run with other parameters.
    """
    stage = STAGES.get(stage, stage)
    defaults = notebook_parameters(env.root() / "notebooks" / f"{stage}.ipynb")
    params = {name: check_type(name, values.get(name, default), default) for name, default in defaults.items()}
    folder = run_folder(params["task"], params["run_id"]) / stage
    refuse_other_parameters(folder, params)
    hold_folder(folder)
    env.seed_everything(params["seed"])
    run = Run(stage, params, folder)
    run.save_manifest("running")
    return run


def evaluation_files(here: Run) -> list[Path]:
    """The evaluation sets that 01 froze, recorded as inputs: validation, test, and further test sets."""
    folder = here.folder.parent / STAGES["01"]
    names = ["validation.jsonl", *sorted(f.name for f in folder.glob("test*.jsonl"))]
    return [here.earlier("01", name) for name in names]


def synthetic_used(here: Run) -> list[dict]:
    """The synthetic rows that 03 trained on: those of 02, or none where 03 was told to leave them out."""
    manifest = read_manifest(here.folder.parent / STAGES["03"])
    return read_jsonl(here.earlier("02", "synthetic.jsonl")) if manifest["parameters"]["use_synthetic"] else []


def notebooks(kind: str) -> dict[str, str]:
    """Stage number → notebook of a kind of task; raises UserError on a wrong one."""
    if kind not in KINDS:
        raise UserError(f"Parameter kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    return KINDS[kind]


def run_folder(task: str, run_id: str) -> Path:
    for name, value in {"task": task, "run_id": run_id}.items():
        if not value or any(c in value for c in "/\\") or value.startswith("."):
            raise UserError(f"Parameter {name}={value!r} names a folder: use letters, digits, - and _ only.")
    return env.root() / "outputs" / task / run_id


def read_manifest(folder: Path) -> dict | None:
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON: restore it, or delete the folder to start that stage anew."
        ) from error


def refuse_other_parameters(folder: Path, params: dict[str, Any]) -> None:
    """Raise UserError when `folder` holds a stage run with other parameters, naming the first that differs."""
    manifest = read_manifest(folder)
    if manifest is None:
        return
    old = manifest["parameters"]
    for name in {**old, **params}:
        if old.get(name) != params.get(name) and name not in LIMITS:
            raise UserError(
                f"{folder} belongs to a run with {name}={old.get(name)!r}, not {params.get(name)!r}: "
                f"choose another run_id, or delete that folder."
            )


def unchanged(folder: Path, params: dict[str, Any]) -> bool:
    """Whether a stage succeeded with these parameters and this code, and its inputs and outputs are as it left them."""
    manifest = read_manifest(folder)
    if manifest is None or manifest["status"] != "success" or manifest["parameters"] != params:
        return False
    if manifest["code"] != code_sha(folder.name):
        return False
    files = {**manifest["inputs"], **manifest["outputs"]}
    return all(env.resolve(name).exists() and sha256(env.resolve(name)) == digest for name, digest in files.items())


def code_sha(stage: str) -> str:
    """sha256 over the code cells of the stage's notebook and over the helper package: its code, tables, and embedded data."""
    digest = hashlib.sha256()
    notebook = env.root() / "notebooks" / f"{stage}.ipynb"
    if notebook.exists():  # outputs and execution counts do not count as a change
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        digest.update("\0".join("".join(c["source"]) for c in cells if c["cell_type"] == "code").encode())
    package = Path(__file__).parent
    for file in sorted(f for f in package.rglob("*") if f.is_file()):
        if file.suffix != ".pyc" and file.name not in ("README.md", "LICENSE"):  # these change no result
            digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _name(path: Path) -> str:
    """Path as the manifest stores it: relative to the project root where it lies inside."""
    return path.relative_to(env.root()).as_posix() if path.is_relative_to(env.root()) else path.as_posix()


def _git() -> dict[str, Any]:
    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=env.root(), capture_output=True, text=True)
        return done.stdout.strip()

    try:
        return {"sha": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except OSError:  # no git on this machine
        return {"sha": "", "dirty": None}


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
