"""What several test folders share: the project's root, a project for one test, commands run in it, notebooks and their code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from helpers import files, manifest, run
from helpers.cli import given

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"  # optional; tests that use it skip where it is absent
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def new_project(folder: Path) -> Path:
    """Make `folder` a project root with the real notebooks and parameters and an outputs/ of its own."""
    for name in ("notebooks", "params"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def start(project: Path, words: list[str], **environment: str) -> subprocess.Popen:
    """Start a command in `project`, in a process group of its own, so that a test can kill it with its kernel."""
    return subprocess.Popen(
        words,
        env=os.environ | {"AMBO_ROOT": str(project)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(project: Path, words: list[str], code: int | None = 0, **environment: str) -> tuple[str, str]:
    """(stdout, stderr) of a command in `project` that must end with this exit code (None: any), without a traceback if it fails."""
    process = start(project, words, **environment)
    out, err = process.communicate(timeout=900)
    assert code is None or process.returncode == code, (process.returncode, out, err)
    # A command that succeeded may show that of a kernel's heartbeat: two that start at once can draw the same port.
    assert code == 0 or "Traceback" not in err, err
    return out, err


def kill_after_rounds(project: Path, words: list[str], rounds: Path, count: int) -> int:
    """Start a command, kill it with its kernel once `rounds` (a jsonl file) has `count` lines; returns the lines it has."""
    process, deadline = start(project, words), time.time() + 400
    while not (rounds.exists() and len(rounds.read_text().splitlines()) >= count):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return len(rounds.read_text().splitlines())


def ambo_run(run_id: str, settings: dict, task: str = "csv", *more: str, profile: str = "demo") -> list[str]:
    """The words of an `ambo run` command."""
    words = [sys.executable, "-m", "helpers.cli", "run", "--task", task, "--profile", profile, "--run-id", run_id]
    return [*words, *(word for key, value in settings.items() for word in ("-p", key, str(value))), *more]


def demo_parameters(**changes: Any) -> dict[str, Any]:
    """The parameters of notebook 03 in the demo, for the embedded model, with some of them changed."""
    return given.stage_parameters("03_active_learning", given.gather_parameters("italian_jobs", "demo", {})) | changes


def code_cells(name: str, **parameters: Any) -> list[str]:
    """Code cells of a notebook as a plain Python process can run them: without the Colab cell, with these parameters."""
    sources = ["from IPython.display import display"]
    for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "colab" not in tags:
            sources.append("".join(cell["source"]))
        if "parameters" in tags:
            sources.append("\n".join(f"{key} = {value!r}" for key, value in parameters.items()))
    return sources


def notebook(path: Path, *cells: tuple[str, list[str]]) -> Path:
    """Write a notebook of (source, tags) code cells."""
    empty = {"cell_type": "code", "execution_count": None, "outputs": []}
    body = [
        empty | {"id": f"c{i}", "metadata": {"tags": tags}, "source": source} for i, (source, tags) in enumerate(cells)
    ]
    path.write_text(json.dumps({"cells": body, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}))
    return path


def save_manifest(folder: Path, **facts: Any) -> Path:
    """Write the manifest of a stage that a test makes up: a success, except for these facts."""
    if (folder / "adapter").exists():
        record_adapter(folder)
    whole = {"stage": folder.name, "status": "success", "parameters": {}, "code": "", "seconds": 1.0}
    return manifest.write_manifest(folder, whole | {"inputs": {}, "outputs": {}, "hub": {}} | facts)


def copy_stage(source: Path, target: Path) -> None:
    """Copy a finished stage into another run of the same parameters, as if that run had done it."""
    shutil.copytree(source, target)
    facts = files.read_json(target / "manifest.json")
    facts["parameters"]["run_id"] = target.parent.name
    homes = [f"{'/'.join(stage.parts[-3:-1])}/" for stage in (source, target)]
    for kind in ("inputs", "outputs"):
        facts[kind] = {name.replace(*homes): sha for name, sha in facts[kind].items()}
    manifest.write_manifest(target, facts)


def record_outputs(stage: Path) -> None:
    """Record the outputs of a stage as they are now, as if it had written them."""
    facts = files.read_json(stage / "manifest.json")
    facts["outputs"] = {name: files.sha256(stage.parents[3] / name) for name in facts["outputs"]}
    manifest.write_manifest(stage, facts)


def record_adapter(stage: Path) -> None:
    """Record the adapter in the folder of a made-up stage 03 as the one that its last round trained."""
    row = {"strategy": "random", "round": 0, "picks": [], "adapter": files.sha256(stage / "adapter")}
    write_rounds(stage, [row])


def write_rounds(stage: Path, rows: list[dict]) -> None:
    """Write rounds as the stage itself records them."""
    path = stage / "rounds.jsonl"
    rows = [{name: value for name, value in row.items() if name != "check"} for row in rows]
    files.write_jsonl(path, [row | {"check": run._check(row, path)} for row in rows])


def assert_quiet(folder: Path) -> None:
    """No notebook that was executed for the run in `folder` shows a warning, an error, or a table by pandas itself."""
    for path in folder.glob("*/*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", (path.name, output)
                assert output["output_type"] != "error"
                page = "".join(output.get("data", {}).get("text/html", ""))
                by_pandas = 'class="dataframe"' in page or re.search(r'<table id="T_\w', page)  # a Styler's
                assert not by_pandas, f"{path.name}: a table is shown by pandas, not by report.as_html"
